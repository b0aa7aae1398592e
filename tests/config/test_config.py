"""Configurations: presets that combine with overrides, and requests that are refused with one clear line."""

from pathlib import Path

import glasswright as gw
import pytest
from glasswright.commands.compose import compose, start
from glasswright.commands.train import build
from glasswright.config.folder import configuration_folder
from glasswright.config.instantiate import instantiate
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

EXPERIMENTS = sorted(path.stem for path in (configuration_folder() / "experiment").glob("*.yaml"))
SIZE = {"n_particles": 368, "n_species": 2, "dimension": 2, "density": 1.6}


@pytest.fixture(scope="module")
def hydra():
    instance = start("train")
    yield instance
    GlobalHydra.instance().clear()


@pytest.fixture
def make(hydra):
    """Compose and build from overrides; the notes that the loader took are at `make.notes`."""

    def make(*overrides: str) -> gw.Experiment:
        hydra.config_loader.notes.clear()
        experiment = build(compose("train", list(overrides), instance=hydra))
        make.notes = list(hydra.config_loader.notes)
        return experiment

    return make


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_builds(make, name):
    experiment = make(f"experiment={name}")
    assert experiment.terms
    assert make.notes == []


def test_the_default_is_the_papers_single_packing(make):
    experiment = make()
    assert (experiment.system.n_particles, experiment.system.n_species, experiment.system.density) == (
        368,
        2,
        1.6,
    )
    assert float(experiment.terms["poisson_ratio"].objective.target) == 0.35
    assert experiment.design == {"diameter": (0.1, 3.0), "binding_energy": (0.0, 10.0)}
    assert (experiment.steps, experiment.tolerance, experiment.sampler.size) == (10000, 1e-6, 1)
    saved = OmegaConf.create(experiment.config)
    assert saved.optimizer._target_.endswith(".polyak")
    assert (saved.optimizer.learning_rate, saved.optimizer.floor) == (3e-3, 0.01)
    assert (saved.optimizer.optimizer._target_, saved.optimizer.optimizer.learning_rate) == (
        "optax.rmsprop",
        1.0,
    )


def test_the_saved_configuration_builds_the_same_experiment(make):
    experiment = make("potential.diameter=[0.9,1.0]", "seed=7")
    again = build(OmegaConf.create(experiment.config))
    assert again.config == experiment.config
    assert again.seed == 7
    assert again.potential.diameter.tolist() == [0.9, 1.0]


def test_auxetic_differs_in_its_target(make):
    assert float(make("experiment=single_poisson_auxetic").terms["poisson_ratio"].objective.target) == -0.1


def test_a_preset_is_dropped_where_the_term_is_not_selected(make):
    experiment = make("property=[pressure]", "terms.pressure.objective.target=0.4")
    assert list(experiment.terms) == ["pressure"]
    assert make.notes == [
        "dropped from experiment 'single_poisson': terms.poisson_ratio.objective.target=0.35 "
        "(terms.poisson_ratio is not selected)"
    ]


def test_a_preset_is_dropped_where_the_objective_was_replaced(make):
    band = "terms.poisson_ratio.objective"
    experiment = make(f"objective@{band}=band", f"{band}.lower=0.3", f"{band}.upper=0.4")
    assert type(experiment.terms["poisson_ratio"].objective).__name__ == "Band"
    assert len(make.notes) == 1


def test_a_preset_is_dropped_where_the_optimizer_was_replaced(make):
    make("optimizer=adam", "optimizer.b1=0.8")
    assert "optimizer.learning_rate=0.003 (optimizer is adam here)" in make.notes[0]


def test_an_inner_optimizer_keeps_the_rate_that_the_outer_one_needs(make):
    saved = OmegaConf.create(make("optimizer@optimizer.optimizer=adam").config)
    assert (saved.optimizer.optimizer._target_, saved.optimizer.optimizer.learning_rate) == (
        "optax.adam",
        1.0,
    )
    saved = OmegaConf.create(make("optimizer.optimizer.learning_rate=0.5").config)
    assert saved.optimizer.optimizer.learning_rate == 0.5


def test_terms_can_be_combined(make):
    experiment = make(
        "property=[poisson_ratio,pressure]",
        "terms.pressure.weight=2",
        "terms.pressure.objective.target=0.1",
        "objective@terms.poisson_ratio.objective=band",
        "terms.poisson_ratio.objective.upper=0.4",
        "+property@terms.low=poisson_ratio",
        "terms.low.objective.target=0.2",
    )
    assert list(experiment.terms) == ["poisson_ratio", "pressure", "low"]
    assert experiment.terms["pressure"].weight == 2.0
    assert type(experiment.terms["low"].property) is type(experiment.terms["poisson_ratio"].property)


def test_no_experiment_is_legal(make):
    experiment = make(
        "experiment=null",
        "property=[pressure]",
        "terms.pressure.objective.target=0.1",
        "design.diameter=[0.1,2]",
    )
    assert experiment.design == {"diameter": (0.1, 2.0)}


def test_a_full_name_replaces_the_presets_bare_one(make):
    assert make("design.potential.diameter=[0.2,2]").design == {
        "binding_energy": (0.0, 10.0),
        "potential.diameter": (0.2, 2.0),
    }


def test_learning_rate_schedules(make):
    rate = "optimizer.learning_rate"
    make(
        "optimizer=adam",
        f"schedule@{rate}=cosine_decay_schedule",
        f"{rate}.init_value=1e-3",
        f"{rate}.decay_steps=50",
    )
    make(
        "optimizer=sgd",
        f"schedule@{rate}=piecewise_constant_schedule",
        f"{rate}.init_value=1e-3",
        f"{rate}.boundaries_and_scales={{100:0.5}}",
    )
    make("optimizer=adamw", f"schedule@{rate}=warmup_cosine_decay_schedule", f"{rate}.init_value=0.0",
         f"{rate}.peak_value=1e-3", f"{rate}.warmup_steps=10", f"{rate}.decay_steps=100")  # fmt: skip


def test_parameters_follow_the_system(make):
    experiment = make("system.n_species=4")
    assert experiment.potential.diameter.shape == (4,)
    assert experiment.potential.binding_energy.shape == (10,)
    assert make("potential.n_species=2").potential.diameter.shape == (2,)


def test_array_parameters_take_numbers_lists_and_matrices(make):
    assert make("potential.diameter=0.9").potential.diameter.tolist() == [0.9, 0.9]
    matrix = make("potential.binding_energy=[[1,2],[2,3]]").potential.binding_energy
    assert matrix.tolist() == [1.0, 2.0, 3.0]


def test_user_experiments_combine_like_ours(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - single_poisson\n  - override /property: [bulk_modulus, pressure]\n  - _self_\n"
        "terms:\n  bulk_modulus:\n    objective: {target: 3}\n"
        "  pressure:\n    objective: {target: 0.2}\n    weight: 0.5\n"
    )
    instance = start("train", extra_folder=str(tmp_path))
    config = compose("train", ["experiment=mine", "property=[pressure]"], instance=instance)
    experiment = build(config)
    assert {name: term.weight for name, term in experiment.terms.items()} == {"pressure": 0.5}
    assert any("terms.bulk_modulus.objective.target=3" in note for note in instance.config_loader.notes)
    assert config.hydra.job.name == "train"
    assert compose("train", ["experiment=mine"], instance=instance).hydra.job.name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("terms:\n  pressure:\n    weight: 2\n", "terms.pressure: there is no such term"),
        ("train:\n  stps: 3\n", "stps"),
        ("sede: 3\n", "sede: no such key; did you mean 'seed'?"),
        ("train:\n  steps: many\n", "many"),
        ("potential:\n  _target_: os.system\n", "potential._target_=os.system: refused"),
        (
            "hydra:\n  callbacks:\n    x: {_target_: os.system}\n",
            "hydra.callbacks.x._target_=os.system: refused",
        ),
        ("seed: [\n", "ParserError"),
    ],
)
def test_mistakes_in_user_experiments_are_not_dropped(tmp_path, text, message):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - single_poisson\n  - _self_\n" + text
    )
    with pytest.raises(gw.RequestError) as raised:
        build(compose("train", ["experiment=mine"], extra_folder=str(tmp_path)))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


# The overrides of a wrong request, and what its one line has to say.
WRONG = [
    ("foo=1", "foo: no such key; possible: chunk_size, combination, design"),
    ("potentail=harmonic_morse", "did you mean 'potential'?"),
    ("potential=harmonc_morse", "no such potential; did you mean 'harmonic_morse'?"),
    (
        "property=[poison_ratio]",
        "no such property; did you mean 'poisson_ratio'? possible: allosteric_response, anisotropy, ",
    ),
    ("property=[poisson_ratio,poisson_ratio]", "poisson_ratio is chosen twice"),
    ("property=[]", "possible: allosteric_response, anisotropy, "),
    ("property=[pressure]", "terms.pressure.objective.target is required"),
    ("experiment=nope", "no such experiment; possible: composition, density_and_poisson, ensemble_poisson"),
    ("terms.poisson_ratio.objective.targt=1", "did you mean 'target'?"),
    ("terms.pressure.weight=2", "add it with property=[…,pressure]"),
    ("+terms.low.weight=2", "terms.low: there is no such term"),
    ("terms.poisson_ratio.weight=-1", "must not be negative"),
    (
        "terms.poisson_ratio.objective.target=nan",
        "terms.poisson_ratio.objective.target=nan: must be a finite number",
    ),
    ("terms.poisson_ratio.objective.target=inf", "must be a finite number"),
    ("terms.poisson_ratio.objective.estimator=foo", "possible: auto, plain, unbiased"),
    (
        "objective@terms.poisson_ratio.objective=band terms.poisson_ratio.objective.target=0.3",
        "possible: lower, upper",
    ),
    ("objective@terms.poisson_ratio.objective=band", "give lower, upper or both"),
    ("property=[pressure] terms.poisson_ratio.objective.target=0.3", "there is no term 'poisson_ratio'"),
    ("objective@terms.low.objective=band", "no such choice here"),
    ("optimizer=adm", "did you mean 'adam'?"),
    ("optimizer.learning_rat=1", "did you mean 'learning_rate'?"),
    ("optimizer=adam optimizer.learning_rate=-1", "optimizer.learning_rate=-1: must not be negative"),
    ("optimizer=adam optimizer.meta_learning_rate=1", "no such parameter of adam"),
    ("optimizer=adam optimizer.learning_rate.init_value=1", "choose schedule@optimizer.learning_rate"),
    ("optimizer=adam schedule@optimizer.learning_rate=linear_schedule", "optimizer.learning_rate.init_value"),
    ("train.steps=abc", "train.steps=abc: must be an integer, not 'abc'"),
    ("train.steps=0", "train.steps=0: must be an integer of at least 1"),
    ("train.stps=3", "did you mean 'steps'?"),
    ("+train.foo=3", "train.foo: no such key"),
    ("system.composition=[0.5,0.6]", "must be positive and add up to 1"),
    ("system.composition=[0.5,0.3,0.2]", "n_species is 2"),
    ("system.box=[[1,2],[2,4]]", "must span a volume"),
    ("system.n_particles=3 system.composition=[0.9,0.1]", "no particle would be of species 1"),
    ("system.n_particles=20", "less than twice the cutoff"),
    ("system.dimension=4", "must be 2 or 3"),
    ("system.density=nan", "system.density=nan"),
    ("potential.n_species=3", "set system.n_species"),
    ("potential.diameter=[1,2,3]", "potential.diameter: harmonic_morse(diameter=[1.0, 2.0, 3.0])"),
    ("potential.diameter=-1", "potential.diameter: harmonic_morse(diameter=[-1.0, -1.0]): must be positive"),
    ("potential.diameter=[1,nan]", "potential.diameter=nan"),
    ("potential.diameter=0.8,1.0", "a list is written in brackets"),
    ("potential.binding_energy=[[1,2],[3,4]]", "must be symmetric"),
    ("potential.stiffness=true", "potential.stiffness=true: must be a number"),
    ("protocol.method=steepest", "protocol.method=steepest: possible: fire, newton"),
    ("sampler.size=0", "sampler.size: tracked(size=0)"),
    ("design.diametr=[1,3]", "did you mean 'diameter'?"),
    ("design.diameter=[3,1]", "lower < upper"),
    ("design.diameter=3", "bounds must be [lower, upper]"),
    ("seed=-1", "seed=-1: must be an integer of at least 0"),
    ("devices=99000", "devices=99000: at most"),
    ("devices=many", "must be auto or a number of devices"),
    ("potential._target_=os.system", "potential._target_=os.system: refused"),
    ("+potential.foo._target_=os.system", "potential.foo._target_=os.system: refused"),
    ("potential._target_=glasswright_plugins.objectives.band.Band", "no registered potential"),
    ("+hydra.callbacks.x._target_=os.system", "hydra.callbacks.x._target_=os.system: refused"),
    ("hydra.launcher._target_=os.system", "hydra.launcher._target_=os.system: refused"),
    ("+hydra.job_logging.handlers={a:{class:subprocess.Popen}}", "hydra.job_logging.handlers.a.class"),
    ("+hydra.callbacks.x='${oc.decode:x}'", "may not be built from text"),
    ("hydra/launcher=joblb", "hydra/launcher=joblb: no such option"),
    ("seed=${oc.env:GLASSWRIGHT_NO_SUCH_VARIABLE}", "GLASSWRIGHT_NO_SUCH_VARIABLE"),
    ("seed=${foo:1}", "Unsupported interpolation type foo"),
    ("property=[pressure", "cannot be read"),
]


@pytest.mark.wrong_types
@pytest.mark.parametrize(("overrides", "message"), WRONG, ids=[case[0] for case in WRONG])
def test_wrong_requests_are_explained_on_one_line(make, overrides, message):
    with pytest.raises(gw.RequestError) as raised:
        make(*overrides.split(" "))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_property_needs_what_the_protocol_provides():
    from glasswright.config.blocks import build_property

    class Nothing(gw.AbstractProtocol):
        def prepare(self, potential, start, *, key):
            raise NotImplementedError

        def attach(self, potential, prepared):
            raise NotImplementedError

    node = {"property": {"_target_": "glasswright_plugins.properties.poisson_ratio.PoissonRatio"}}
    with pytest.raises(gw.RequestError, match=r"terms\.nu\.property: PoissonRatio needs .*Equilibrium.*provides State"):
        build_property("nu", node, Nothing(), SIZE)


def test_any_error_of_a_constructor_names_the_key():
    node = {"_target_": "glasswright_plugins.samplers.tracked.Tracked", "size": -3}
    with pytest.raises(gw.RequestError, match=r"^sampler\.size: tracked\(size=-3\)"):
        instantiate("sampler", node, "sampler", SIZE)


def test_the_configuration_is_found_beside_the_package():
    assert (Path(configuration_folder()) / "measure.yaml").is_file()
