"""Object stores: where the files of a delivery lie. Stores are configured by name; events carry no addresses."""
