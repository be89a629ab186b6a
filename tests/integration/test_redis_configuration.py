"""Configuration: documents by compare-and-set, references and uniqueness keys all or nothing, every partition told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest
from redis.asyncio import Redis

from connectors.redis.catalog import CatalogStore
from connectors.redis.customers import CLAIM_GRACE_MS, WRITER_MS, CustomerStore
from connectors.redis.keys import CatalogKeys, PartitionKeys, partition_of
from connectors.redis.once import Keyed, KeyStore, Repeated, keyed
from connectors.redis.types import Change, KeyClaim, Stale, Taken, Written
from tests.support.redis_stores import NOW_MS, partition_store, set_aliases, snapshot

P = 3


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def customers(redis: Redis) -> CustomerStore:
    return CustomerStore(redis, P)


@pytest.fixture
def keys(redis: Redis) -> KeyStore:
    return KeyStore(redis, P)


@pytest.fixture
async def catalog(redis: Redis) -> CatalogStore:
    catalog = CatalogStore(redis)
    await catalog.fix_partitions(P)
    return catalog


async def changes_of(redis: Redis, partition: int) -> list[Change]:
    return await partition_store(redis, partition).changes(0, 100)


async def dies_in(owner: type, method: str, work: Awaitable[object]) -> None:
    """Runs ``work`` up to where it calls ``method``: there its process dies."""

    async def crash(*_: object, **__: object) -> None:
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, crash)
        with pytest.raises(Crash):
            await work


# --- catalog ------------------------------------------------------------------------------------------------------------


async def test_catalog_writes_are_numbered_and_announced_everywhere(redis: Redis, catalog: CatalogStore) -> None:
    assert await catalog.revision() == 0
    assert await catalog.write(0, {"metrics": {"m1": b"{1}"}, "alerts": {"a1": b"{2}"}}) == Written(1)
    assert await catalog.write(1, {"metrics": {"m2": b"\xff\0"}}, deletes={"alerts": ["a1"]}) == Written(2)
    revision, documents = await catalog.load()
    assert revision == 2
    assert documents == {
        **{"metrics": {"m1": b"{1}", "m2": b"\xff\0"}, "products": {}, "rate_cards": {}},
        **{"alerts": {}, "pricing_units": {}, "custom_field_keys": {}, "packages": {}},
    }
    assert await catalog.get("metrics", "m1") == b"{1}"
    assert await catalog.get("alerts", "a1") is None
    assert await catalog.list("metrics") == documents["metrics"]
    for partition in range(P):
        told = await changes_of(redis, partition)
        assert [(change.kind, change.revision, change.catalog_revision) for change in told] == [
            ("catalog", 1, 1),
            ("catalog", 2, 2),
        ]


async def test_a_stale_catalog_write_writes_nothing(redis: Redis, catalog: CatalogStore) -> None:
    await catalog.write(0, {"metrics": {"m1": b"1"}})
    before = await snapshot(redis)
    assert await catalog.write(0, {"metrics": {"m1": b"2"}}) == Stale(1)
    assert await catalog.write(2, {"metrics": {"m1": b"2"}}) == Stale(1)
    assert await snapshot(redis) == before


async def test_of_two_concurrent_catalog_writes_one_is_stale(catalog: CatalogStore) -> None:
    outcomes = await asyncio.gather(*(catalog.write(0, {"metrics": {f"m{i}": b"1"}}) for i in range(2)))
    assert sorted(map(str, outcomes)) == ["Stale(stored=1)", "Written(revision=1)"]


async def test_uniqueness_keys_in_the_catalog_are_all_or_nothing(redis: Redis, catalog: CatalogStore) -> None:
    first = KeyClaim("alerts", "key-1", "a1")
    assert await catalog.write(0, {"alerts": {"a1": b"1"}}, claims=[first]) == Written(1)
    assert await catalog.claimed("alerts", "key-1") == "a1"
    assert await catalog.claimed("alerts", "key-2") is None
    before = await snapshot(redis)
    both = [KeyClaim("alerts", "key-2", "a2"), KeyClaim("alerts", "key-1", "a2")]
    assert await catalog.write(1, {"alerts": {"a2": b"2"}}, claims=both) == Taken("key-1", "a1")
    assert await snapshot(redis) == before

    assert await catalog.write(1, {"alerts": {"a2": b"2"}}, releases=[first], claims=both) == Written(2)
    assert await catalog.claimed("alerts", "key-1") == "a2"
    assert await catalog.write(2, {}, releases=[first]) == Written(3)  # a1 holds it no more: nothing to free
    assert await catalog.claimed("alerts", "key-1") == "a2"


async def test_a_catalog_write_whose_writer_died_is_announced_later_and_once(redis: Redis, catalog: CatalogStore) -> None:
    await dies_in(CatalogStore, "announce", catalog.write(0, {"metrics": {"m1": b"1"}}))
    assert await changes_of(redis, 0) == []
    await catalog.announce()
    await catalog.announce()
    assert [change.catalog_revision for change in await changes_of(redis, 0)] == [1]


async def test_the_partition_count_is_fixed_once(redis: Redis) -> None:
    catalog = CatalogStore(redis)
    assert await catalog.partitions() is None
    assert await catalog.write(0, {"metrics": {"m": b"1"}}) == Written(1)  # nobody to tell yet
    assert await catalog.fix_partitions(12) == 12
    assert await catalog.fix_partitions(13) == 12
    assert await catalog.partitions() == 12


async def test_endpoints_and_tokens(catalog: CatalogStore) -> None:
    await catalog.put_endpoint("e1", b"doc")
    assert await catalog.endpoints() == {"e1": b"doc"}
    assert await catalog.delete_endpoint("e1")
    assert not await catalog.delete_endpoint("e1")
    await catalog.put_token("hash", b"name")
    assert await catalog.token("hash")
    assert await catalog.tokens() == {"hash": b"name"}
    assert await catalog.delete_token("hash")
    assert await catalog.token("hash") is None


async def test_an_endpoint_is_replaced_only_by_who_has_seen_it_as_it_is(redis: Redis) -> None:
    """The API and a dispatcher that disables it read the same document: the second one to write has to read again."""
    catalog = CatalogStore(redis)
    revisions = [await catalog.endpoints_revision()]
    await catalog.put_endpoint("e1", b"first")
    revisions.append(await catalog.endpoints_revision())
    assert await catalog.replace_endpoint("e1", b"first", b"second")
    revisions.append(await catalog.endpoints_revision())
    assert not await catalog.replace_endpoint("e1", b"first", b"lost")
    assert await catalog.endpoint("e1") == b"second"
    assert await catalog.endpoints_revision() == revisions[-1]
    assert await catalog.delete_endpoint("e1")
    revisions.append(await catalog.endpoints_revision())
    assert not await catalog.replace_endpoint("e1", b"second", b"from the dead")
    assert not await catalog.delete_endpoint("e1")
    assert (await catalog.endpoint("e1"), await catalog.count_endpoints()) == (None, 0)
    assert sorted(set(revisions)) == revisions


async def test_an_idempotency_key_has_one_first_run(redis: Redis, keys: KeyStore) -> None:
    runs = [Keyed("token:key", "request", 3_600) for _ in range(3)]
    begun = [await keys.begin(run) for run in runs]
    assert [word for word, _ in begun] == ["first", "running", "running"]
    assert await keys.begin(Keyed("token:key", "another request", 3_600)) == ("other", b"")
    await keys.interrupt(runs[1])  # has no say: the first one has the lease
    assert (await keys.begin(runs[1]))[0] == "running"
    await keys.interrupt(runs[0])
    assert await keys.begin(runs[1]) == ("again", begun[0][1]), "with the ids of the first run"
    await keys.give_back(runs[0])  # too late: another run has it
    assert (await keys.begin(runs[2]))[0] == "running"
    await keys.finish(runs[1], b'{"answer": 1}')
    await keys.prolong(runs[1])
    assert await keys.begin(runs[2]) == ("answer", b'{"answer": 1}')
    assert (await keys.begin(Keyed("other:key", "request", 3_600)))[0] == "first"
    assert 3_500 < await redis.ttl(CatalogKeys.idempotency("token:key")) <= 3_600


async def test_a_key_that_is_given_back_is_free_for_any_request(keys: KeyStore) -> None:
    run, other = Keyed("place", "request", 60), Keyed("place", "another", 60)
    await keys.begin(run)
    await keys.give_back(run)
    assert (await keys.begin(other))[0] == "first"


async def test_a_change_is_made_once_under_a_key_and_its_answer_found_anywhere(
    redis: Redis, catalog: CatalogStore, customers: CustomerStore, keys: KeyStore
) -> None:
    await customers.create("acme", [], b"{}", NOW_MS)
    changes: dict[str, Callable[[bytes], Awaitable[object]]] = {
        "catalog": lambda answer: catalog.write(0, {"metrics": {"m": b"1"}}, answer=answer),
        "customer": lambda answer: customers.update("acme", 1, b"two", answer),
        "endpoint": lambda answer: catalog.put_endpoint("e", b"1", answer),
        "reset": lambda answer: customers.request_reset("acme", "alert", answer),
        "created": lambda answer: customers.create("new", [], b"{}", NOW_MS, answer),
    }
    for name, change in changes.items():
        with keyed(Keyed(name, "request", 60)):
            assert await keys.made(Keyed(name, "request", 60)) is None
            await change(name.encode())
            before = await snapshot(redis)
            if name != "created":  # its references are looked at first, and are its own no more
                with pytest.raises(Repeated) as repeated:
                    await change(b"another answer")
                assert repeated.value.answer == name.encode()
                assert await snapshot(redis) == before, name
            assert await keys.made(Keyed(name, "request", 60)) == name.encode()


# --- customers ----------------------------------------------------------------------------------------------------------


async def test_a_created_customer_resolves_and_is_told_to_its_owner_and_to_whoever_parked(
    redis: Redis, customers: CustomerStore, catalog: CatalogStore
) -> None:
    assert await customers.create("acme", ["a1", "a2", "a1"], b'{"id": "acme"}', NOW_MS) is None
    assert await catalog.resolve(["acme", "a1", "a2", "a3"]) == {"acme": "acme", "a1": "acme", "a2": "acme"}
    assert await catalog.resolve([]) == {}
    assert await customers.get("acme") == (1, b'{"id": "acme"}')
    assert await customers.get("nobody") is None
    assert await customers.get_many(["nobody", "acme"]) == {"acme": (1, b'{"id": "acme"}')}
    home = partition_of("acme", P)
    for partition in range(P):
        kinds = [change.kind for change in await changes_of(redis, partition)]
        assert kinds == (["customer", "refs"] if partition == home else ["refs"])
        assert set((await changes_of(redis, partition))[-1].refs) == {"acme", "a1", "a2"}
    assert (await partition_store(redis, home).load(["acme"]))["acme"].document == b'{"id": "acme"}'
    assert await redis.exists(CatalogKeys.PENDING) == 0


async def test_a_reference_in_use_is_named_and_nothing_is_written(redis: Redis, customers: CustomerStore) -> None:
    await customers.create("acme", ["alias"], b"{}", NOW_MS)
    before = await snapshot(redis)
    assert await customers.create("other", ["free", "alias"], b"{}", NOW_MS) == Taken("alias", "acme")
    assert await customers.create("other", ["acme"], b"{}", NOW_MS) == Taken("acme", "acme")  # another's id is no alias
    assert await customers.create("alias", [], b"{}", NOW_MS) == Taken("alias", "acme")
    assert await customers.create("acme", [], b"{}", NOW_MS) == Taken("acme", "acme")
    assert await snapshot(redis) == before


async def test_new_aliases_free_the_old_ones(redis: Redis, customers: CustomerStore, catalog: CatalogStore) -> None:
    await customers.create("acme", ["keep", "old"], b"{}", NOW_MS)
    await customers.create("other", ["theirs"], b"{}", NOW_MS)
    before = await snapshot(redis)
    assert await set_aliases(customers, "acme", ["new", "theirs"], NOW_MS) == Taken("theirs", "other")
    assert await snapshot(redis) == before

    assert await set_aliases(customers, "acme", ["keep", "new"], NOW_MS) is None
    assert await catalog.resolve(["acme", "keep", "old", "new"]) == {"acme": "acme", "keep": "acme", "new": "acme"}
    for partition in range(P):
        assert set((await changes_of(redis, partition))[-1].refs) == {"old", "new"}  # forget the one, release the other
    assert await set_aliases(customers, "other", ["old"], NOW_MS) is None
    assert await catalog.resolve(["old", "theirs"]) == {"old": "other"}


async def test_a_customers_own_id_as_its_alias_survives_its_removal(customers: CustomerStore, catalog: CatalogStore) -> None:
    await customers.create("acme", ["acme"], b"{}", NOW_MS)
    await set_aliases(customers, "acme", [], NOW_MS)
    assert await catalog.resolve(["acme"]) == {"acme": "acme"}


async def test_documents_change_by_compare_and_set(redis: Redis, customers: CustomerStore) -> None:
    await customers.create("acme", [], b"one", NOW_MS)
    revision = (await partition_store(redis, partition_of("acme", P)).position()).revision
    assert await customers.update("acme", 1, b"two\nlines\xff") == Written(revision + 1)
    before = await snapshot(redis)
    assert await customers.update("acme", 1, b"lost") == Stale(2)
    assert await customers.update("acme", 0, b"lost") == Stale(2)
    assert await customers.update("acme", 3, b"lost") == Stale(2)
    assert await customers.update("ghost", 1, b"lost") == Stale(0)
    assert await snapshot(redis) == before
    assert await customers.get("acme") == (2, b"two\nlines\xff")


async def test_customers_are_listed_by_creation(customers: CustomerStore) -> None:
    for i, name in enumerate(["c", "a", "b", "d"]):
        await customers.create(name, [], b"{}", NOW_MS + i)
    assert await customers.list(None, 3) == ["c", "a", "b"]
    assert await customers.list("b", 3) == ["d"]
    assert await customers.list("d", 3) == []
    assert await customers.list("unknown", 3) == []
    assert await customers.list(None, 0) == []


async def test_state_names_how_far_its_partition_is(redis: Redis, customers: CustomerStore) -> None:
    await customers.create("acme", [], b"{}", NOW_MS)
    keys = PartitionKeys(partition_of("acme", P))
    await redis.hset(keys.position, mapping={"applied_revision": 1, "catalog_revision": 9})
    await redis.hset(keys.state("acme"), "x", "1")
    state, applied, revision, catalog_revision = await customers.state("acme")
    assert (state.state, applied, revision, catalog_revision) == ({"x": "1"}, 1, 2, 9)


# --- interrupted creations ----------------------------------------------------------------------------------------------


async def test_a_creation_that_died_before_its_document_does_not_hold_the_alias_for_ever(
    customers: CustomerStore, catalog: CatalogStore
) -> None:
    await dies_in(CustomerStore, "update", customers.create("dead", ["alias", "other-alias"], b"{}", NOW_MS))

    assert await customers.create("acme", ["alias"], b"{}", NOW_MS + CLAIM_GRACE_MS - 1) == Taken("alias", "dead", pending=True)
    assert await customers.create("acme", ["alias"], b"{}", NOW_MS + CLAIM_GRACE_MS) is None
    assert await catalog.resolve(["alias", "dead", "other-alias"]) == {"alias": "acme"}
    assert await customers.list(None, 10) == ["acme"]


async def test_recovery_undoes_or_finishes_interrupted_creations(
    redis: Redis, customers: CustomerStore, catalog: CatalogStore
) -> None:
    await dies_in(CustomerStore, "update", customers.create("dead", ["a"], b"{}", NOW_MS))
    await dies_in(CustomerStore, "broadcast", customers.create("silent", ["b"], b"{}", NOW_MS))

    assert await customers.recover(NOW_MS + CLAIM_GRACE_MS - 1) == 0
    assert await customers.recover(NOW_MS + CLAIM_GRACE_MS) == 2
    assert await customers.recover(NOW_MS + CLAIM_GRACE_MS) == 0
    assert await catalog.resolve(["dead", "a", "silent", "b"]) == {"silent": "silent", "b": "silent"}
    for partition in range(P):
        assert set((await changes_of(redis, partition))[-1].refs) == {"silent", "b"}  # who parked events for it hears of it


async def test_recovery_remembers_the_aliases_that_an_interrupted_change_freed(redis: Redis, customers: CustomerStore) -> None:
    await customers.create("acme", ["old"], b"{}", NOW_MS)
    await dies_in(CustomerStore, "broadcast", set_aliases(customers, "acme", ["new"], NOW_MS))
    await set_aliases(customers, "acme", ["newer"], NOW_MS)
    assert set((await changes_of(redis, 0))[-1].refs) == {"old", "new", "newer"}


# --- uniqueness keys of objects in customers' documents -----------------------------------------------------------------


async def test_a_uniqueness_key_has_one_holder(customers: CustomerStore, catalog: CatalogStore) -> None:
    async def exists(_: KeyClaim) -> bool:
        return True

    mine, theirs = KeyClaim("contracts", "key", "c1", "acme"), KeyClaim("contracts", "key", "c2", "other")
    outcomes = await asyncio.gather(*(customers.claim_key(claim, exists, NOW_MS) for claim in (mine, theirs)))
    assert outcomes.count(None) == 1
    loser, winner = (mine, theirs) if outcomes[0] else (theirs, mine)
    assert await customers.claim_key(loser, exists, NOW_MS + 10 * CLAIM_GRACE_MS) == Taken("key", winner.id)
    assert await customers.claim_key(winner, exists, NOW_MS) is None  # it is its own already
    assert await catalog.claimed("contracts", "key") == winner.id
    assert not await customers.release_key(loser)
    assert await customers.release_key(winner)
    assert not await customers.release_key(winner)
    assert await customers.claim_key(loser, exists, NOW_MS) is None


async def in_documents(customers: CustomerStore, claim: KeyClaim) -> bool:
    found = await customers.get(claim.owner or "")
    return found is not None and any(each["id"] == claim.id for each in orjson.loads(found[1]).get(claim.kind, ()))


async def test_a_key_whose_object_never_came_to_exist_is_taken_over(customers: CustomerStore) -> None:
    """And its writer, who was only late, can write its object no more without noticing."""

    async def exists(claim: KeyClaim) -> bool:
        return await in_documents(customers, claim)

    for customer_id in ("acme", "other"):
        await customers.create(customer_id, [], b'{"version":1}', NOW_MS)
    late, mine = KeyClaim("contracts", "key", "c1", "acme"), KeyClaim("contracts", "key", "c2", "other")
    assert await customers.claim_key(late, exists, NOW_MS) is None
    assert await customers.claim_key(mine, exists, NOW_MS) is None, "after a moment in which it might have come"
    assert await customers.update("acme", 1, b'{"contracts":[{"id":"c1"}],"version":2}') == Stale(2)
    assert isinstance(await customers.update("other", 1, b'{"contracts":[{"id":"c2"}],"version":2}'), Written)
    assert await customers.claim_key(late, exists, NOW_MS) == Taken("key", "c2")


async def test_a_key_is_given_back_to_a_writer_who_was_just_in_time(customers: CustomerStore, catalog: CatalogStore) -> None:
    await customers.create("acme", [], b'{"version":1}', NOW_MS)

    async def exists(claim: KeyClaim) -> bool:
        """Until the claim is taken over nothing is seen of the object."""
        return await catalog.claimed("contracts", "key") == "c2" and await in_documents(customers, claim)

    late, mine = KeyClaim("contracts", "key", "c1", "acme"), KeyClaim("contracts", "key", "c2", "other")
    assert await customers.claim_key(late, exists, NOW_MS) is None
    await customers.update("acme", 1, b'{"contracts":[{"id":"c1"}],"version":2}')
    assert await customers.claim_key(mine, exists, NOW_MS) == Taken("key", "c1")
    assert await customers.claim_key(late, exists, NOW_MS) is None, "it is its own again"


async def test_a_key_of_a_customer_that_is_being_made_is_pending(customers: CustomerStore) -> None:
    async def exists(claim: KeyClaim) -> bool:
        return False

    dead, mine = KeyClaim("fields", "key", "c1", "c1"), KeyClaim("fields", "key", "c2", "c2")
    assert await customers.claim_key(dead, exists, NOW_MS) is None
    assert await customers.claim_key(mine, exists, NOW_MS + WRITER_MS) == Taken("key", "c1", pending=True)
    assert await customers.claim_key(mine, exists, NOW_MS + CLAIM_GRACE_MS) is None


async def test_recovery_writes_aliases_that_an_interrupted_change_did_not_get_to_write(customers: CustomerStore) -> None:
    await customers.create("acme", ["old"], b'{"ingest_aliases":["old"],"version":1}', NOW_MS)
    assert await customers.take_aliases("acme", ["new"], NOW_MS) == ["old", "new"]
    assert await customers.recover(NOW_MS + CLAIM_GRACE_MS) == 1
    version, document = await customers.get("acme") or (0, b"{}")
    assert (version, orjson.loads(document)) == (2, {"ingest_aliases": ["new"], "version": 2})
