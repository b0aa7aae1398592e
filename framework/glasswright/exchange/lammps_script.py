"""An input script for LAMMPS that reads a packing, minimises its energy and measures its elastic constants."""

from collections.abc import Sequence

from .lammps_table import PairTable

_AXES = "xyz"
# How large strains are, and up to which force component energies are minimised: much smaller than what strains cause.
STRAIN, FORCE = 1e-6, 1e-10

_HEAD = """\
# Read a packing by glasswright, minimise its energy, and measure its elastic constants by small strains:
#   lmp -in {name}
#   lmp -in {name} -var packing {other}
# Results are in measured.txt. Moduli are second derivatives of the energy density in the linear strain, as glasswright
# has them, prestress included.
variable packing index {first}
variable strain index {strain}

units lj
dimension {dimension}
boundary p p p
atom_style atomic
atom_modify map yes
pair_style table spline {n_rows}
read_data ${{packing}}
{coefficients}
neighbor 0.3 bin
neigh_modify every 1 delay 0 check yes
{flat}
thermo 1000
thermo_style custom step pe press fmax
thermo_modify norm no
min_style fire
min_modify norm inf
timestep 0.01

# At rest: the forces that are left of the tables.
run 0
variable force_before equal $(fmax)
minimize 0.0 {force} 100000 1000000
variable energy equal $(pe)
compute stress all pressure NULL virial
run 0
"""

_BOX = """
# The box and the stress before any strain. Stress is positive under tension.
{stored}
"""

_TAIL = """
# Averages over all orientations.
variable K equal ({trace})/{d2}
variable G equal ({d}*({contraction})-({trace}))/{weight}
variable nu equal ({d}*v_K-2*v_G)/({d_d1}*v_K+2*v_G)
print \"\"\"energy $(v_energy:%.15g)
pressure $(({pressure}):%.15g)
largest_force_before $(v_force_before:%.6g)
bulk_modulus $(v_K:%.15g)
shear_modulus $(v_G:%.15g)
poisson_ratio $(v_nu:%.15g)\"\"\" file measured.txt
"""


def input_script(
    name: str,
    packings: Sequence[str],
    tables_file: str,
    tables: Sequence[PairTable],
    labels: Sequence[str],
    dimension: int,
) -> str:
    """The text of the script.

    **Arguments:**

    - `name`: its own file name.
    - `packings`: the names of the data files.
    - `tables_file`, `tables`, `labels`: the file of tables, what is in it, and the names of the species.
    - `dimension`: two or three.
    """
    d = dimension
    coefficients = "\n".join(
        f"pair_coeff {t.first + 1} {t.second + 1} {tables_file} {t.keyword(labels)} {t.cutoff:.17g}" for t in tables
    )
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d)]
    trace = "+".join(f"v_C{i}{i}{j}{j}" for i in range(d) for j in range(d))
    contraction = "+".join([*(f"v_C{i}{i}{i}{i}" for i in range(d)), *(f"2*v_C{i}{j}{i}{j}" for i, j in pairs)])
    parts = [
        _HEAD.format(
            name=name,
            first=packings[0],
            other=packings[-1],
            strain=STRAIN,
            dimension=d,
            n_rows=len(tables[0].distance),
            coefficients=coefficients,
            flat="fix flat all enforce2d" if d == 2 else "",
            force=FORCE,
        ),
        _BOX.format(stored="\n".join(_stored(d))),
        *(_normal_strain(i, d) for i in range(d)),
        *(_shear(i, j, d) for i, j in pairs),
        _TAIL.format(
            trace=trace,
            contraction=contraction,
            d=d,
            d2=d * d,
            weight=d * (d - 1) * (d + 2),
            d_d1=d * (d - 1),
            pressure="-(" + "+".join(f"v_s{i}{i}" for i in range(d)) + f")/{d}",
        ),
    ]
    return "".join(parts)


def _stress(i: int, j: int) -> str:
    """A component of the stress, as LAMMPS computes it."""
    return f"-c_stress[{[(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)].index((i, j)) + 1}]"


def _box_entries(d: int) -> list[tuple[int, int]]:
    """The entries of the upper triangular matrix of lattice vectors."""
    return [(i, j) for i in range(d) for j in range(i, d)]


def _entry(i: int, j: int) -> str:
    """What LAMMPS calls an entry of the box."""
    return f"l{_AXES[i]}" if i == j else f"{_AXES[i]}{_AXES[j]}"


def _stored(d: int) -> list[str]:
    box = [f"variable h{i}{j} equal $({_entry(i, j)}:%.17g)" for i, j in _box_entries(d)]
    return box + [f"variable s{i}{j} equal $(({_stress(i, j)}):%.17g)" for i, j in _box_entries(d)]


def _changed_box(changes: dict[tuple[int, int], str], d: int) -> str:
    """The command that gives the box these entries; all others are as before the strain."""
    words = []
    for i, j in _box_entries(d):
        value = f"$(({changes.get((i, j), f'v_h{i}{j}')}):%.17g)"
        words.append(f"{_AXES[i]} final 0.0 {value}" if i == j else f"{_AXES[i]}{_AXES[j]} final {value}")
    return f"change_box all {' '.join(words)} remap units box"


def _strained(what: str, changes: dict[tuple[int, int], str], read: list[tuple[int, int]], d: int) -> str:
    """The packing under a strain and under the opposite one: stresses of both, named after the strain's sign."""
    lines = [f"\n# {what}"]
    for name, sign in (("up", ""), ("down", "-")):
        lines += [
            f"variable e equal {sign}${{strain}}",
            _changed_box(changes, d),
            f"minimize 0.0 {FORCE} 100000 1000000",
            "run 0",
            *(f"variable {name}{i}{j} equal $(({_stress(i, j)}):%.17g)" for i, j in read),
        ]
    lines.append(_changed_box({}, d))
    return "\n".join(lines) + "\n"


def _normal_strain(i: int, d: int) -> str:
    """Stretch along an axis: `C_iijj = d[J s_jj / F_jj]/de`, with the stress `s` of the stretched packing."""
    changes = {(i, j): f"v_h{i}{j}*(1+v_e)" for j in range(i, d)}
    text = _strained(f"stretched along {_AXES[i]}", changes, [(j, j) for j in range(d)], d)
    for j in range(d):
        # Of stresses in the box before the strain: across the stretch, the area that they act on has grown.
        prestress = "" if i == j else f"+v_s{j}{j}"
        text += f"variable C{i}{i}{j}{j} equal $(((v_up{j}{j}-v_down{j}{j})/(2*v_strain){prestress}):%.17g)\n"
    return text


def _shear(i: int, j: int, d: int) -> str:
    """Simple shear. It is a symmetric strain and a rotation, which differ in second order: that costs prestress."""
    changes = {(i, k): f"v_h{i}{k}+v_e*v_h{j}{k}" for k in range(j, d)}
    text = _strained(f"sheared along {_AXES[i]} and {_AXES[j]}", changes, [(i, j)], d)
    slope = f"(v_up{i}{j}-v_down{i}{j})/(2*v_strain)"
    return text + f"variable C{i}{j}{i}{j} equal $(({slope}-v_s{j}{j}+0.25*(v_s{i}{i}+v_s{j}{j})):%.17g)\n"
