"""Object storage, where each release is an object of its own that nothing overwrites."""

from __future__ import annotations

from pathlib import PurePosixPath

from overnight.records import Payload
from overnight.sinks.contract import Consignment, Outcome, Sink
from overnight.sinks.errors import DeliveryDeferred, DeliveryFailed
from overnight.sinks.formats import format_rows, get_release_part, is_same_file, refuse_unfit, settle_all
from overnight.sinks.stores import Store


class ObjectSink(Sink):
    """
    Creates one object a release by one conditional put; an object that is there already is never written.

    The store has to honour the condition (If-None-Match: * with s3): one that ignores it would overwrite. At a recall
    s3 deletes only the very object that was compared, by its ETag; gs and az delete what stands there a moment later,
    whatever was put there in between. Where a bucket keeps versions, a recall leaves the object's as an old one.

    Args:
        name: With {release} in its last part.
        allow_hosts: Hosts that may be private or loopback.
        credential: A JSON object of fsspec's storage options, such as key, secret and endpoint_url; without it the
            protocol's library looks for credentials where it always does.

    Raises:
        SinkRefused: The credential is not usable, a library is missing, or the host may not be reached.
        DeliveryDeferred: The host cannot be found now.
    """

    effect = "reversible"
    operation = "create"
    dedupes = True
    n_at_once = None
    replaces = False

    def __init__(self, name: str, *, allow_hosts: frozenset[str], credential: str | None = None) -> None:
        self._name = name
        self._suffix = PurePosixPath(name).suffix
        self._store = Store(name.partition(":")[0], credential, allow_hosts)

    def check(self, sample: Payload) -> None:
        """Refuse a row that no such object can hold."""
        refuse_unfit(sample.body, self._suffix, self._name)

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """Create the release's object; the same bytes there already are as good, others are left alone."""
        place = self._get_place(consignment)
        if not consignment.payloads:
            return []
        try:
            detail = self._create(place, consignment)
        except DeliveryFailed as error:
            return settle_all(consignment, is_delivered=False, detail=str(error))
        return settle_all(consignment, is_delivered=True, detail=detail)

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:  # noqa: ARG002 - it replaced none
        """Delete the release's object where it still holds exactly these rows."""
        place = self._get_place(consignment)
        if not consignment.payloads:
            return []
        try:
            detail = self._delete(place, consignment)
        except DeliveryFailed as error:
            return settle_all(consignment, is_delivered=False, detail=str(error))
        return settle_all(consignment, is_delivered=True, detail=detail)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def _get_place(self, consignment: Consignment) -> str:
        return self._name.replace("{release}", get_release_part(consignment))

    def _format(self, place: str, consignment: Consignment) -> bytes:
        return format_rows([payload.body for payload in consignment.payloads], self._suffix, place)

    def _create(self, place: str, consignment: Consignment) -> str:
        ours = self._format(place, consignment)
        n_rows = len(consignment.payloads)
        if self._store.create(place, ours):
            return f"{n_rows} rows in {place}"
        found = self._store.find(place)
        if found is None:
            raise DeliveryDeferred(f"{place} was there and is gone again. See who deletes it, and deliver again.")
        if not is_same_file(found, ours, self._suffix):
            raise DeliveryFailed(
                f"{place} is there already with other bytes, and is left as it is. See who wrote it, move it away and"
                " ask for a new approval."
            )
        return f"{n_rows} rows in {place}: it was there already"

    def _delete(self, place: str, consignment: Consignment) -> str:
        ours = self._format(place, consignment)
        # Before the reading: an object that comes in between is not deleted for the one that was read.
        etag = self._store.find_etag(place)
        found = self._store.find(place)
        if found is None:
            return f"{place} was gone already"
        is_ours = is_same_file(found, ours, self._suffix)
        # An answer may be lost and the delete repeated: then it is not there to be compared.
        if is_ours and (self._store.delete(place, etag) or self._store.find(place) is None):
            return f"{place} is deleted"
        raise DeliveryFailed(f"{place} was changed since release {consignment.release_id}: it is left as it is.")
