"""Rating: usage.unique to usage.rated, a Faust app. Owns which metric counts which event; never
knows a customer, a plan or a price.
"""
