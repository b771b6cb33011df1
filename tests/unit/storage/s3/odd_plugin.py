"""A plugin of botocore's, as BOTOCORE_EXPERIMENTAL__PLUGINS may name one."""


def initialize_client_plugin(client: object) -> None:
    """What a plugin may do is anything; this one does nothing."""
