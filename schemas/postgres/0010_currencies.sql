-- The two currencies of Metronome that 0006 left out (services/domain/money.py), in whole units.

-- Whoever made a unit of this name of one's own meanwhile keeps it, with its id told in its name:
-- names are given once, and the currency has to be there under its own.
update credit_type set name = name || ' (' || id || ')'
    where name in ('CNY', 'DKK') and not is_currency;

insert into credit_type (id, name, is_currency, decimal_places) values
    ('60d27846-de37-51a7-9148-44aeafd25d6d', 'CNY', true, 2),
    ('af5986a1-757c-511e-b790-126c12bd40da', 'DKK', true, 2);
