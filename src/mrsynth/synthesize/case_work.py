"""The prediction of a cohort's case: what is made of it and of what, unless it lies there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mrsynth.core.errors import ModelError
from mrsynth.core.files import write_json
from mrsynth.core.jobs import Failure, guarded
from mrsynth.core.progress import say, working_on
from mrsynth.io import CaseRow, bids_out, read_case
from mrsynth.io.overwrite import Identity, require_no_scan
from mrsynth.io.predictions import Prediction, Predictions, Sidecar, path_of
from mrsynth.io.prepared_inputs import digests_of
from mrsynth.io.sidecar import sidecar_of
from mrsynth.synthesize import Doses, Synthesizer
from mrsynth.synthesize.impute import Supply
from mrsynth.synthesize.made import dosages_of, files_of, made_by, remarks_of, say_remarks, sources_of
from mrsynth.synthesize.maps import paths_of, to_make, write_all
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.targets import Kept, wanted
from mrsynth.synthesize.write import is_written


@dataclass(frozen=True, eq=False)
class CohortWork:
    """The prediction of all contrasts of a cohort's case.

    Attributes:
        works: contrast → how it is predicted.
    """

    works: Mapping[str, CaseWork]

    def __call__(self, row: CaseRow) -> dict[str, Failure | None]:
        """Predict a case.

        Args:
            row: of the cohort table.

        Returns:
            Contrast that was to be made → why it failed, None where it is there.
        """
        kept, results = Kept(), dict[str, Failure | None]()
        for target, work in self.works.items():
            asked = guarded(work.wants, row)
            if isinstance(asked, Failure):
                results[target] = asked
            elif asked:
                results[target] = guarded(partial(work, kept=kept), row)
        return results


@dataclass(frozen=True, eq=False)
class CaseWork:
    """The prediction of one contrast of a cohort's case.

    Attributes:
        synthesizer: makes the contrast.
        place: what is written, and how.
        doses: what is asked of a model with a condition, None for other models.
        predictions: the folder that it goes into.
        scans: which files the whole cohort's are.
    """

    synthesizer: Synthesizer
    place: Place
    doses: Doses | None
    predictions: Predictions
    scans: frozenset[Identity]

    def wants(self, row: CaseRow) -> bool:
        """Say whether the contrast is to be made of a case."""
        return wanted(self.synthesizer, self.place, row.files, row.case)

    def __call__(self, row: CaseRow, kept: Kept) -> Failure | None:
        """Predict a case, unless it lies there already; a model that cannot be used ends the whole run.

        Args:
            row: of the cohort table.
            kept: what was prepared of it.
        """
        try:
            with working_on(row.case):
                self._predict(row, kept)
        except ModelError as error:
            return Failure(str(error), stops=error)
        return None

    def _predict(self, row: CaseRow, kept: Kept) -> None:
        supply = self.synthesizer.supply(row.files)
        like = row.files[self.synthesizer.place(supply, self.place.like)]
        formats = replace(self.place.formats, name=self.place.formats.name or "nifti")
        formats = formats.of(like, self.predictions.folder, self.synthesizer.contract.target)
        asked = self._asked(row, supply, like if formats.name == "bids" else None)
        folder = self.predictions.folder
        made_as = [path_of(folder, one) for image in asked.images for one in (image, image.error) if one is not None]
        if all(is_written(file, formats) for file in made_as) and self.predictions.holds(row.case, asked):
            self.predictions.keep(row.case)
            return
        self.predictions.forget(row.case)
        for file in (path for image in asked.images for path in paths_of(folder, image)):
            require_no_scan(file, self.scans)
        say("preparing")
        ready = kept.ready(self.synthesizer, supply, self.place, lambda: read_case(row, supply.read, ("brain",)))
        for image in asked.images:
            made = made_by(self.synthesizer, supply, self.place, image.dosage)
            write_all(self.synthesizer, ready, image, folder, formats, made, like)
        remarks = remarks_of(self.synthesizer, ready, asked.images)
        self.predictions.add(row.case, asked.model_copy(update={"remarks": remarks}))
        say_remarks(row.case, remarks)
        if formats.name == "bids":
            self._describe(row, supply)

    def _describe(self, row: CaseRow, supply: Supply) -> None:
        """Write the sidecars of a case's images in a BIDS derivative."""
        made = self.predictions.record.cases[row.case]
        known = self.predictions.known.model_dump(exclude={"cases", "failed"})
        scans = {name: row.files[name] for name in supply.read}
        for image in made.images:
            path = path_of(self.predictions.folder, image)
            own = made.model_copy(update={"images": [image]})
            record = Sidecar(**known, image=path.name, made=own, files={name: p.name for name, p in scans.items()})
            write_json(sidecar_of(path), bids_out.sidecar(record.content(), scans))

    def _asked(self, row: CaseRow, supply: Supply, bids_like: Path | None) -> Prediction:
        """Return what is to be made of a case and of what, with the SHA-256 of each file that is read; raises
        InputError where it cannot be made. bids_like: the scan after which a BIDS derivative is named."""
        known = {"dose": row.dose, "b0_tesla": row.b0_tesla}
        dosages = dosages_of(self.synthesizer, row.case, known, self.doses, own_noise=True)
        files = files_of(row, self.synthesizer.contract.target, dosages, bids_like)
        read = replace(row, files={name: row.files[name] for name in (*supply.read, "brain") if name in row.files})
        return Prediction(
            images=[
                to_make(self.synthesizer, supply, self.place, file, dosage)
                for file, dosage in zip(files, dosages, strict=True)
            ],
            like=self.synthesizer.place(supply, self.place.like),
            inputs=sources_of(self.synthesizer, supply, row.files),
            sha256=digests_of(read, supply.read),
        )
