"""The formats that packings are written in for other programs, and what each is for."""

FORMATS = {
    "extxyz": "packings for ASE and OVITO",
    "gsd": "packings for HOOMD-blue, OVITO and freud",
    "lammps": "packings, interactions as tables and an input script for LAMMPS",
}
