"""The DEEPaaS side: find the module, describe its arguments, run it by command line or as a worker."""
