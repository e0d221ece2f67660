"""Model versions on disk: their hashes, and the aliases champion and challenger.

Every change holds the registry's lock; readers need none, because the index is replaced as a whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from driftbook import paths
from driftbook.errors import DriftbookError, IntegrityError, UsageError
from driftbook.store import files, ledger
from driftbook.store.ledger import LedgerHead

# The scorer is the model compiled for serving: the API loads it without scikit-learn or skops.
VERSION_FILES = ("model.skops", "reference.parquet", "card.json", "scorer.json")


@dataclass(frozen=True)
class RegistryIndex:
    """The registry's one table: the file hashes of every version, and the aliases.

    ``head`` is where the ledger ended when the champion was last moved: a ledger that is shorter,
    or another one up to there, was altered.
    """

    versions: Mapping[str, Mapping[str, Any]]
    aliases: Mapping[str, str | None]
    head: LedgerHead | None = None  # None: no champion yet, or an index of an earlier release

    def resolve(self, name: str) -> str:
        """Return the version that ``name`` (an alias or a version) stands for.

        Raises:
            UsageError: no such version, or the alias is not set.
        """
        version = self.aliases.get(name, name)
        if version is None or version not in self.versions:
            known = ", ".join(self.versions) or "none yet; run `make run` first"
            raise UsageError(f"no model version {name!r} in the registry; known versions: {known}")
        return version


def read_index(models: Path) -> RegistryIndex:
    """Return the registry's index; empty where nothing was registered yet.

    Raises:
        IntegrityError: the index file cannot be read, or is gone while there is a ledger.
    """
    path = models / paths.INDEX
    mend = "restore it from a backup, or move the artifacts folder away and run `make run`"
    try:
        values = files.read_json_object(path)
        head = values.get("ledger")
        return RegistryIndex(
            versions=dict(values["versions"]),
            aliases=dict(values["aliases"]),
            head=None if head is None else LedgerHead(int(head["lines"]), str(head["sha256"])),
        )
    except FileNotFoundError as error:
        # A version is in the index before the ledger's first line can name it.
        if (models / paths.LEDGER).exists():
            told = f"the registry index {path} is missing, though there is a ledger beside it"
            raise IntegrityError(f"{told}; {mend}") from error
        return RegistryIndex(versions={}, aliases={"champion": None, "challenger": None})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"the registry index {path} cannot be read ({error}); {mend}"
        ) from error


def find_registry(version: str, *registries: Path) -> Path:
    """Return the first of the registries that holds ``version``.

    Raises:
        DriftbookError: none does.
    """
    for models in registries:
        if version in read_index(models).versions:
            return models
    looked = " or ".join(map(str, registries))
    raise DriftbookError(f"model {version} is in no registry ({looked}); run `driftbook run`")


def read_card(version: str, *registries: Path) -> dict[str, Any]:
    """Return the card of ``version`` from the first of the registries that holds it.

    Raises:
        DriftbookError: none does.
    """
    return files.read_json_object(find_registry(version, *registries) / version / "card.json")


def read_verified_files(models: Path, name: str) -> dict[str, bytes]:
    """Return the files of a version or alias by name, read once and checked against the index.

    Raises:
        UsageError: no such version.
        IntegrityError: a file is missing or altered.
    """
    known = read_index(models)
    version = known.resolve(name)
    hashes = known.versions[version].get("files", {})
    return _read_checked(models / version, hashes)


def _read_checked(folder: Path, hashes: Mapping[str, str]) -> dict[str, bytes]:
    contents = {}
    for name in VERSION_FILES:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise IntegrityError(
                f"model {folder.name}: {name} cannot be read ({error.strerror}); restore it or "
                "roll back"
            ) from error
        found = files.hash_bytes(content)
        if found != hashes.get(name):
            raise IntegrityError(
                f"model {folder.name}: {name} has SHA-256 {found[:12]}… but "
                f"{str(hashes.get(name))[:12]}… "
                "was registered; it is not loaded: restore the file or roll back"
            )
        contents[name] = content
    return contents


@contextmanager
def lock_registry(models: Path) -> Iterator[RegistryIndex]:
    """Hold the registry's lock and give the index as it is."""
    with files.hold_lock(models / ".lock"):
        yield read_index(models)


def register_version(models: Path, known: RegistryIndex, partial: Path, version: str) -> None:
    """Give a filled folder the name of its version and register its hashes; the lock is held."""
    folder = models / version
    files.sync_tree(partial)
    if folder.exists():  # left over from a run that stopped before it registered the version
        shutil.rmtree(folder)
    partial.replace(folder)
    entry = {
        "files": {name: files.hash_bytes((folder / name).read_bytes()) for name in VERSION_FILES},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        write_index(models, replace(known, versions={**known.versions, version: entry}))
    except OSError:  # on a full disk; a folder that the index does not name is nobody's
        shutil.rmtree(folder, ignore_errors=True)
        raise


def adopt_versions(models: Path, staged: Path) -> list[str]:
    """Copy the version folders of another registry that are new here; return their versions."""
    with lock_registry(models) as known:
        added = [
            version for version in read_index(staged).versions if version not in known.versions
        ]
        for version in added:
            read_verified_files(staged, version)
            with files.fill_folder(models / version) as partial:
                partial.mkdir()
                for name in VERSION_FILES:
                    shutil.copyfile(staged / version / name, partial / name)
                register_version(models, read_index(models), partial, version)
    return added


def set_first_champion(models: Path, version: str) -> bool:
    """Make ``version`` champion where there is none yet; return whether that happened."""
    with lock_registry(models) as known:
        if known.aliases.get("champion") is not None:
            return False
        chosen, why = known.resolve(version), "first version of this model"
        _move_champion(models, known, chosen, event="first", why=why)
        return True


def follow_served_version(models: Path, version: str) -> None:
    """Make ``version`` champion: another one is served elsewhere, which nobody here promoted."""
    with lock_registry(models) as known:
        if known.resolve(version) != known.aliases.get("champion"):
            why = "another version is served elsewhere; its first rows are the new reference"
            _move_champion(models, known, version, event="served elsewhere", why=why)


def nominate_challenger(models: Path, version: str | None) -> None:
    """Point the alias ``challenger`` at ``version``; ``None`` clears it."""
    with lock_registry(models) as known:
        chosen = None if version is None else known.resolve(version)
        if chosen != known.aliases.get("challenger"):
            aliases = {**known.aliases, "challenger": chosen}
            write_index(models, replace(known, aliases=aliases))


def promote_version(
    models: Path, version: str, why: str, evidence_sha256: str | None, forced: bool = False
) -> dict[str, Any]:
    """Make ``version`` the champion and return the ledger line; the caller has checked the gate.

    Raises:
        UsageError: no such version, or it is the champion already.
        IntegrityError: its files are not the registered ones.
    """
    with lock_registry(models) as known:
        chosen = known.resolve(version)
        if chosen == known.aliases.get("champion"):
            raise UsageError(f"model {chosen} is the champion already; nothing to promote")
        read_verified_files(models, chosen)
        return _move_champion(models, known, chosen, "promotion", why, evidence_sha256, forced)


def roll_back(models: Path, to: str | None, why: str) -> dict[str, Any]:
    """Make an earlier champion (default: the previous one) champion again; return the ledger line.

    Raises:
        UsageError: there is no earlier champion, or ``to`` never was one.
        IntegrityError: its files are not the registered ones.
    """
    with lock_registry(models) as known:
        now, lines = known.aliases.get("champion"), ledger.read_ledger(models)
        earlier = dict.fromkeys(line["to"] for line in lines if line["to"] != now)
        if not earlier:
            raise UsageError(
                "there is no earlier champion to roll back to; the ledger names only the "
                "present one"
            )
        chosen = ledger.find_previous_champion(lines, str(now)) if to is None else known.resolve(to)
        if chosen not in earlier:
            raise UsageError(
                f"model {chosen} never was champion before; earlier champions: {', '.join(earlier)}"
            )
        read_verified_files(models, chosen)
        return _move_champion(models, known, chosen, "rollback", why)


def record_event(
    models: Path,
    known: RegistryIndex,
    event: str,
    why: str,
    evidence_sha256: str | None,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write an event that leaves the champion where it is and return its line; the lock is held.

    A stop between ledger and index is finished by settle, as one of a move.
    """
    now = known.resolve("champion")
    added = ledger.compose_line(models, event, now, now, why, evidence_sha256, False, about)
    _write_event(models, added, known)
    return added.line


def settle_promotion(models: Path) -> str | None:
    """Finish an event that stopped between ledger and index; return a message if one did."""
    if not models.exists():
        return None
    with lock_registry(models) as known:
        line = find_unsettled(models, known)
        if line is None:
            return None
        settled = _with_champion(known, line["to"])
        write_index(models, replace(settled, head=ledger.read_head(models)))
    return f"finished the {ledger.name_event(line)} that had stopped half-way"


def find_unsettled(models: Path, known: RegistryIndex) -> dict[str, Any] | None:
    """Return the ledger's last line if the index does not know it yet; None where both agree.

    Raises:
        IntegrityError: the ledger lacks lines that the index knows, or other ones are in their
            place, or the index names a champion that the ledger does not.
    """
    lines, champion = ledger.read_ledger(models), known.aliases.get("champion")
    last: dict[str, Any] = lines[-1] if lines else {}
    path, mend = models / paths.LEDGER, "restore both files of one backup"
    if known.head is not None:
        seen = ledger.read_head(models, known.head.lines)
        if seen != known.head:
            raise IntegrityError(
                f"the ledger {path} has {len(lines)} line(s), the registry's index knew "
                f"{known.head.lines} of them with another ending: lines were altered or removed; "
                f"{mend}"
            )
        if len(lines) > known.head.lines:
            return last
    elif last and last.get("from") == champion != last.get("to"):
        return last  # the first move of all, or one that an earlier release began
    if last.get("to") != champion:
        raise IntegrityError(
            f"the registry's index names champion {champion}, the last line of the ledger {path} "
            f"names {last.get('to')}; {mend}"
        )
    return None


def _move_champion(
    models: Path,
    known: RegistryIndex,
    version: str,
    event: str,
    why: str,
    evidence_sha256: str | None = None,
    forced: bool = False,
) -> dict[str, Any]:
    """Write that ``version`` is champion now, and return the ledger's line about it."""
    old = known.aliases.get("champion")
    added = ledger.compose_line(models, event, old, version, why, evidence_sha256, forced)
    _write_event(models, added, _with_champion(known, version))
    return added.line


def _with_champion(known: RegistryIndex, version: str) -> RegistryIndex:
    challenger = known.aliases.get("challenger")
    aliases = {"champion": version, "challenger": None if challenger == version else challenger}
    return replace(known, aliases=aliases)


def _write_event(models: Path, added: ledger.NextLine, known: RegistryIndex) -> None:
    """Write the ledger first, then the index, or neither: a stop in between is finished by settle.

    An event that fails must not take effect later, when somebody has long decided otherwise.
    """
    index = _format_index(replace(known, head=added.head))
    files.write_in_order({models / paths.LEDGER: added.text, models / paths.INDEX: index})


def write_index(models: Path, known: RegistryIndex) -> None:
    """Replace the registry's index; the lock is held, or nobody else knows of the folder."""
    files.write_whole(models / paths.INDEX, _format_index(known))


def _format_index(known: RegistryIndex) -> str:
    head = None if known.head is None else vars(known.head)
    values = {"versions": dict(known.versions), "aliases": dict(known.aliases), "ledger": head}
    return files.format_json(values)
