"""The studies of the paper: their trainings can be built, and their claims and figures are made whatever has failed."""

import dataclasses
import json
import re
from pathlib import Path

import glasswright as gw
import pytest
from glasswright.commands.compose import compose, start
from glasswright.commands.table import load_command
from glasswright.components.study import SCALES
from glasswright.plots.options import DEFAULT_PLOTS
from glasswright.registry import registry
from hydra.core.global_hydra import GlobalHydra

STUDIES = registry().components("study")


def test_the_studies_of_the_paper_are_there():
    figures = "1c 1d 1e 1f 2 3ab 3c 3d 4a 4b 4c 4d 5a 5b 6a 6b s1 s3s4 s8 sh"
    assert {f"zu2024_{figure}" for figure in figures.split()} <= set(STUDIES)


def without_numbers(overrides):
    """What stays of overrides if every number is the same."""
    return tuple(re.sub(r"\d[\d.e-]*", "0", override) for override in overrides)


@pytest.mark.parametrize("name", STUDIES)
def test_the_jobs_of_a_study_can_be_built(name):
    """At either scale; those that differ in numbers only, once. One that reads another needs that to be tried."""
    jobs = [job for scale in SCALES for job in STUDIES[name].cls().jobs(scale) if not job.reads]
    for command in {job.command for job in jobs}:
        hydra = start(command)
        requests = {without_numbers(job.overrides): job.overrides for job in jobs if job.command == command}
        for overrides in requests.values():
            load_command(command).build(compose(command, list(overrides), instance=hydra), Path.cwd())
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_whose_jobs_have_all_failed_has_no_claim_that_agrees(name):
    study = STUDIES[name].cls()
    for scale in SCALES:
        runs = {job.name: gw.StudyRun(Path(job.name), "failed", "for a test", {}, []) for job in study.jobs(scale)}
        claims = study.claims(scale, runs)
        assert claims
        assert "agrees" not in {claim.verdict for claim in claims}
        json.dumps([dataclasses.asdict(claim) for claim in claims], allow_nan=False)
        study.figure(scale, runs, DEFAULT_PLOTS)
