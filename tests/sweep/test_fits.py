"""Every kind of the registry is fitted and read by what is made for it."""

from utils.probes.kinds import BY_NAME, FORMATS
from utils.saved.saved_probes import LOGITS
from utils.sweep.fits import SOLVERS, TRAINERS


def test_every_kind_has_its_own_way_to_be_fitted_and_every_format_its_logits():
    descending = {name for name, kind in BY_NAME.items() if kind.descends}
    assert set(TRAINERS) == descending and set(SOLVERS) == set(BY_NAME) - descending
    assert set(LOGITS) == set(FORMATS)
