"""Names for values whose type a checker cannot know, each with the reason why it cannot.

To a type checker all of them are `Any`: nothing is checked of what is done with such a value. What is only passed on,
or asked for its type before it is used, is an `object` instead. Containers of arrays are a `PyTree` of jaxtyping.
"""

from typing import Any, TypeAlias

# What a JSON file holds: None, booleans, numbers, texts, and lists and dictionaries of them. Which of these stands
# under a key is up to the function that writes the file; most files have a `TypedDict` there, but files of earlier
# versions are read too. With the union of all of them every key that is read would need a cast.
JSON: TypeAlias = Any

# JSON with arrays and bytes in it, as processes exchange it and checkpoints hold it (`execution/container.py`). It
# comes from outside of this process.
Plain: TypeAlias = Any

# A number, or nested lists of numbers, as deep as the array that they were made of has axes. Checkers of types that run
# with the program do not know types that contain themselves.
Numbers: TypeAlias = float | list[Any]

# What a user has given: a value of a configuration, or an argument. It can be anything until it has been checked, and
# only the parameter of the component that it is for says what it should be.
Setting: TypeAlias = Any

# What is built from a configuration: an object of the interface of its kind. The kind is a text there, such as
# "protocol", and optimizers have no interface of ours.
Built: TypeAlias = Any

# An object or a function of a library without annotations, or with annotations that are wrong for what is used here.
Untyped: TypeAlias = Any
