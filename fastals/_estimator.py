"""What every estimator is besides its mathematics: constructor parameters that can be read, changed and cloned."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from typing import Any

from ._validation import check_choice

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="Estimator")


class Estimator(ABC):
    """A class whose constructor takes keyword arguments, stores each as it is under its name, and checks them."""

    @abstractmethod
    def _check_params(self) -> None:
        """Refuse a parameter that breaks its rule."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters by name, as scikit-learn's ``clone`` and searches expect.

        Parameters
        ----------
        deep : bool
            Ignored: no parameter is itself an estimator.

        Examples
        --------
        >>> import fastals
        >>> fastals.ImplicitALS(factors=8).get_params()["factors"]
        8
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters by name; they take effect at the next ``fit``.

        Raises
        ------
        ParameterError
            A name that is not a parameter, or a value that breaks its rule; nothing is changed then.

        Examples
        --------
        >>> import fastals
        >>> fastals.ImplicitALS(factors=8).set_params(factors=16).factors
        16
        """
        known = self.get_params()
        for name in params:
            check_choice("parameter name", name, tuple(known))
        type(self)(**{**known, **params})
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        shown = (f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(shown)})"
