"""Why no broker lets us in: aiokafka logs it, and then says only that it could not connect."""

from __future__ import annotations

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError

from connectors.kafka.client import connection
from connectors.kafka.errors import Reaction, at_start
from connectors.settings import Settings

_TIMEOUT_MS = 5_000


async def refusal(settings: Settings) -> Exception | None:
    """What one of the bootstrap servers answers that no waiting mends (authentication, a certificate); None if none does."""
    options = connection(settings)
    servers = options.pop("bootstrap_servers")
    for host, port, _ in collect_hosts(servers):
        try:
            conn = await create_conn(host, port, client_id="tidemark", request_timeout_ms=_TIMEOUT_MS, **options)
        except (KafkaError, OSError) as error:
            if at_start(error) is Reaction.START:
                return error
        else:
            conn.close()
    return None
