"""The service that Tollgate is compared with: what a competent engineer writes first."""
