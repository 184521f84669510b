"""PostgreSQL for the services: one schema and one role each, an engine with bounds, migrations, provisioning."""
