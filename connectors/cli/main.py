"""The command line: every command's options, and nothing else; the work is imported when it is asked for."""

from __future__ import annotations

import functools
import os
import signal
import sys
from pathlib import Path

import click

from connectors import DISTRIBUTION
from connectors.cli.deliveries import deliveries
from connectors.cli.partitions import partitions
from connectors.cli.quarantine import quarantine

_KAFKA_PORT_HELP = "Where the embedded broker listens; 0 = any.  [default: as the last time; else 9092, if that is free]"
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_HELP)
@click.version_option(package_name=DISTRIBUTION, prog_name="tidemark")
def cli() -> None:
    """Usage events in from Kafka, alerts on spend and usage out as signed webhooks.

    \b
    Try it:    tidemark demo
    Run it:    tidemark up --embedded            (a broker and a Valkey server included)
    For real:  TIDEMARK_KAFKA_BOOTSTRAP_SERVERS=... TIDEMARK_REDIS_URL=... tidemark up
    """


@cli.command()
@click.option("--embedded", is_flag=True, help="Also start a Kafka broker (in memory) and a Valkey server.")
@click.option("--port", type=click.IntRange(0, 65535), help="The API's port; 0 = any.  [default: TIDEMARK_API_PORT or 8080]")
@click.option("--token", help="A bearer token for the API, beside TIDEMARK_API_TOKENS.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where --embedded keeps its data.  [default: ./tidemark-data]")
@click.option("--kafka-port", type=click.IntRange(0, 65535), help=_KAFKA_PORT_HELP)
@click.option("--ready-file", type=click.Path(path_type=Path), help="A JSON file, written when everything answers.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many worker processes.")
def up(
    embedded: bool,
    port: int | None,
    token: str | None,
    data_dir: Path | None,
    kafka_port: int | None,
    ready_file: Path | None,
    workers: int,
) -> None:
    """Run worker, API and dispatcher, each as a process of its own.

    One that dies is started again. SIGTERM or Ctrl-C drains and stops all of them; a second Ctrl-C kills them.

    \b
    Examples:
      tidemark up --embedded
      tidemark up --embedded --port 8080 --token secret --data-dir ./data --ready-file ready.json
      TIDEMARK_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 TIDEMARK_REDIS_URL=redis://redis:6379/0 tidemark up --workers 4
    """
    if data_dir is not None and not embedded:
        raise click.UsageError("--data-dir goes with --embedded")
    if kafka_port is not None and not embedded:
        raise click.UsageError("--kafka-port goes with --embedded; TIDEMARK_KAFKA_BOOTSTRAP_SERVERS names a real Kafka")
    if embedded and workers > 1:
        raise click.UsageError("the embedded broker balances no group of several workers: --workers needs a real Kafka")
    from rich.console import Console

    from connectors import logs
    from connectors.cli.errors import read_settings
    from connectors.cli.up import UpOptions, run_up

    settings = read_settings()
    if sys.stderr.isatty() and "TIDEMARK_LOG_FORMAT" not in os.environ:
        settings = settings.model_copy(update={"log_format": "console"})
    logs.configure(settings, "up")
    options = UpOptions(
        embedded=embedded,
        port=settings.api_port if port is None else port,
        token=token,
        data_dir=data_dir or Path("tidemark-data"),
        kafka_port=kafka_port,
        ready_file=ready_file,
        workers=workers,
    )
    sys.exit(run_up(options, settings, Console()))


@cli.command()
def worker() -> None:
    """Read usage events, evaluate alerts, commit to Redis. Scales by the topic's partitions.

    \b
    Example:
      TIDEMARK_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 TIDEMARK_METRICS_PORT=9100 tidemark worker
    """
    from connectors.cli.roles import run_role
    from connectors.health import Health
    from connectors.kafka.worker import run_worker

    health = Health()
    run_role("worker", functools.partial(run_worker, health=health), health=health)


@cli.command()
def api() -> None:
    """Serve the HTTP API. Stateless: run any number.

    \b
    Example:
      TIDEMARK_API_HOST=0.0.0.0 TIDEMARK_API_PORT=8080 tidemark api
    """
    from connectors.cli.roles import run_role
    from connectors.http.server import run_api

    run_role("api", run_api, own_http=True)


@cli.command()
def dispatcher() -> None:
    """Deliver notifications from Redis to webhook endpoints. Run any number.

    \b
    Example:
      TIDEMARK_WEBHOOK_ALLOW_LIST=hooks.internal tidemark dispatcher
    """
    from connectors.cli.roles import run_role
    from connectors.webhooks.dispatcher import run_dispatcher

    run_role("dispatcher", run_dispatcher)


@cli.command("embedded-broker", hidden=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where clients find it; 0 = any.")
@click.option("--or-any", is_flag=True, help="Another port, where that one is taken.")
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC:PARTITIONS...")
def embedded_broker(topics: tuple[str, ...], port: int, or_any: bool) -> None:
    """Run the embedded broker in this process until SIGTERM or SIGINT."""
    from connectors.cli.roles import follow_supervisor, report_ready
    from connectors.embedded.broker import BrokerError, serve_broker

    def ready(own: str, public: str) -> None:
        if not report_ready(f"{own} {public}"):
            click.echo(public)

    stopping = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # before librdkafka's threads, so that they take none of them
    follow_supervisor()
    counts = {topic: int(count) for topic, _, count in (item.rpartition(":") for item in topics)}
    try:
        serve_broker(counts, port, or_any, stopping, ready)
    except (BrokerError, OSError) as error:
        raise click.ClickException(f"the embedded broker cannot start: {error}") from error
    os._exit(0)  # librdkafka's threads never end by themselves


cli.add_command(deliveries)
cli.add_command(partitions)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 = any that is free.  [default: 0]")
@click.option("--path", default="/", show_default=True, help="Of the requests.")
@click.option(
    "--secret", "given_secrets", multiple=True, help="Of an endpoint that exists: whsec_... or whpk_...; may be repeated."
)
@click.option("--api", default="http://127.0.0.1:8080", show_default=True, envvar="METRONOME_BASE_URL", help="The API's URL.")
@click.option("--token", envvar="METRONOME_BEARER_TOKEN", help="The API's bearer token.")
@click.option("--url", "public_url", help="How the dispatcher reaches this.  [default: the address that it listens at]")
@click.option("--event-type", "event_types", multiple=True, help="Only these types, * for any text; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON each.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many requests.")
def listen(
    host: str,
    port: int,
    path: str,
    given_secrets: tuple[str, ...],
    api: str,
    token: str | None,
    public_url: str | None,
    event_types: tuple[str, ...],
    as_json: bool,
    count: int | None,
) -> None:
    """Receive webhooks: verify both signatures of each, and print a line.

    Without --secret an endpoint is registered through the API, and removed at the end (Ctrl-C). The API takes an address on
    loopback where private targets are allowed, as under `tidemark up --embedded`. Exits 1 if anything was not signed rightly.

    \b
    Examples:
      tidemark listen
      tidemark listen --api http://127.0.0.1:8080 --token secret --json
      tidemark listen --port 9999 --path /hook --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
    """
    from connectors.cli.listen import ListenOptions, run_listen

    if not path.startswith("/") or "{" in path:
        raise click.UsageError("--path begins with a slash, and has no braces")
    if given_secrets and (public_url or event_types):
        raise click.UsageError("--url and --event-type go with an endpoint that is registered: not with --secret")
    options = ListenOptions(
        host=host,
        port=port,
        path=path,
        secrets=given_secrets,
        api=api,
        token=token,
        public_url=public_url,
        event_types=event_types,
        as_json=as_json,
        count=count,
    )
    sys.exit(run_listen(options))


cli.add_command(quarantine)


@cli.group()
def token() -> None:
    """Create, list and revoke API tokens. Redis keeps only their SHA-256.

    \b
    Examples:
      tidemark token create billing-team
      tidemark token list
      tidemark token revoke billing-team
    """


@token.command("create")
@click.argument("name")
def token_create(name: str) -> None:
    """Make a token and show it, this once.

    \b
    Example:
      TIDEMARK_REDIS_URL=redis://127.0.0.1:6379/0 tidemark token create billing-team
    """
    from connectors.cli import tokens

    tokens.create(name)


@token.command("list")
def token_list() -> None:
    """Show the names of all tokens and when they were made.

    \b
    Example:
      tidemark token list
    """
    from connectors.cli import tokens

    tokens.show()


@token.command("revoke")
@click.argument("name")
def token_revoke(name: str) -> None:
    """Make a token invalid at once.

    \b
    Example:
      tidemark token revoke billing-team
    """
    from connectors.cli import tokens

    tokens.revoke(name)


@cli.group()
def secrets() -> None:
    """The keys that seal webhook secrets in Redis (TIDEMARK_SECRETS_KEYS).

    \b
    Examples:
      tidemark secrets new-key
      tidemark secrets rotate
    """


@secrets.command("new-key")
def secrets_new_key() -> None:
    """Make a key and show it. Nothing is stored.

    \b
    Example:
      TIDEMARK_SECRETS_KEYS=$(tidemark secrets new-key) tidemark api
    """
    from connectors.cli import secrets as keys

    keys.new_key()


@secrets.command("rotate")
def secrets_rotate() -> None:
    """Seal all webhook secrets anew, with the first of the keys. Afterwards the others are needed no more, but for answers under
    Idempotency-Keys, which are kept for TIDEMARK_IDEMPOTENCY_HOURS.

    \b
    Example:
      TIDEMARK_SECRETS_KEYS=new,old tidemark secrets rotate
    """
    from connectors.cli import secrets as keys

    keys.rotate()


@cli.command()
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="Replay this CSV (TIMESTAMP, ContextTokens, GeneratedTokens) instead of the built-in generator.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=720,
    show_default="720: an hour in five seconds",
    help="Times real time; 0 = as fast as it goes.",
)
@click.option("--customers", type=click.IntRange(2, 1000), default=12, show_default=True)
@click.option("--events", type=click.IntRange(100, 1_000_000), default=4000, show_default=True, help="How many are generated.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the generator: the same seed gives the same events.")
def demo(trace: Path | None, speed: float, customers: int, events: int, seed: int) -> None:
    """Run the whole path once, with everything embedded, and check what arrives.

    Exits 0 if every expected webhook arrived with valid signatures, else 1.

    \b
    Examples:
      tidemark demo
      tidemark demo --trace AzureLLMInferenceTrace_code.csv --customers 40
      tidemark demo --trace AzureLLMInferenceTrace_code.csv --speed 0
    """
    from connectors.cli.demo.run import DemoOptions, run_demo

    sys.exit(run_demo(DemoOptions(trace=trace, speed=speed, customers=customers, events=events, seed=seed)))


def main() -> None:
    cli(prog_name="tidemark")


if __name__ == "__main__":
    main()
