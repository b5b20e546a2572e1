"""What the attacks are told: on anonymous uploads, on updates, and on membership."""

from __future__ import annotations

from typing import Literal

from fedpers import lists
from fedpers.errors import InputError
from fedpers.settings import Section, flag, option


class AuditSettings(Section):
    """Which attackers try, and what they are given."""

    linked: str | None = flag(
        None, "Uploads known to be one person's, parted by commas. [those of 1,2,5,10,50 that exist]"
    )
    labelled: int | None = flag(
        None,
        "Uploads of each person whose sender an attacker knows; 0 leaves it out. [5, or all but one of "
        "whoever sent least]",
        ge=0,
    )
    blind: int = flag(
        10_000, "Uploads that an attacker who knows nothing clusters at most; 0 leaves it out.", ge=0
    )
    reads_text: bool = option(True, "Let an attacker who has read other texts of everyone try too.")
    leak_time: bool = flag(False, "Uploads that arrive together are known to be one person's.")
    leak_count: bool = flag(False, "The number of a person's uploads is known too (with --leak-time).")
    device_classes: int | None = flag(None, "Classes of devices, which of them sent being known.", ge=1)
    batch_people: int | None = flag(
        None, "People whose uploads arrive in one batch, who is in it being known.", ge=1
    )
    entropy: bool = flag(False, "Tell accuracy by how much an answer depends on who asks.")
    tsne: bool = flag(False, "Draw a picture of 10 people's uploads by t-SNE.")
    bandwidth: float = option(10.0, "Bandwidth of a device's upload, in Mbit/s.", gt=0)

    def check(self) -> None:
        """Raises an InputError where settings do not go together or cannot be read."""
        self.sizes()
        if self.leak_count and not self.leak_time:
            raise InputError("--leak-count needs --leak-time: only uploads that are linked can be counted")

    def sizes(self) -> list[int] | None:
        """Returns how many uploads are to be known as one person's, each in turn; None if it is not said.

        Raises:
            InputError: They are no whole numbers from 1.
        """
        if self.linked is None:
            return None
        parts = lists.parts(self.linked)
        if not all(part.isdecimal() and int(part) for part in parts):
            raise InputError(f"--linked {self.linked!r}: give whole numbers from 1, parted by commas: 1,5,10")
        return [int(part) for part in parts]


class UpdateSettings(Section):
    """Whose updates are read, and what is done to them before the server sees them."""

    people: int | None = flag(
        None, "People whose updates are attacked, the first in the seeded order. [50, or all]", ge=1
    )
    noise: str = flag(
        "0,0.001,0.003,0.01,0.1",
        "Standard deviations of the noise on an update, in units of --dp-clip, parted by commas.",
    )
    dp_clip: float | None = flag(
        None, "Largest L2 norm of an update that is to get noise. [the median of the plain ones]", gt=0
    )
    cohort: int | None = flag(
        None,
        "Devices whose sum is all that the server sees, in the second part. [those of a round, at most half "
        "of --people]",
        ge=1,
    )
    start: Literal["final", "base"] = flag(
        "final", "What the devices train from: the run's final model, or what its first round started from."
    )


class MembershipSettings(Section):
    """What is asked of a run's training, and what the attacker sees and knows."""

    of: Literal["text", "person"] = flag(
        "text", "What may have been in the training: a text of a client's, or a person."
    )
    view: Literal["model", "module", "rounds"] = flag(
        "model",
        "What the attacker sees: the `model` that the run ended with, a person's own `module` or state with "
        "it, or the aggregates of `rounds` (of a run with --set engine.keep_rounds=K).",
    )
    known: Literal["test", "train"] = flag(
        "test", "Which texts of a person the attacker has, with --of person: those not trained on, or those."
    )
    shadows: int = flag(
        0,
        "Shadow runs for LiRA, an even number from 4, better 16 or more; 0 leaves LiRA out. Each takes "
        "about as long as RUN.",
        ge=0,
    )
    jobs: int | None = flag(None, "Shadow runs at once; 0 or 1 works in this process. [one a core]", ge=0)

    @property
    def record(self) -> str:
        """What the record of such an attack is called in a run's folder."""
        known = (self.known,) if self.of == "person" else ()
        return "-".join(("membership", self.of, *known, self.view))

    def check(self) -> None:
        """Raises an InputError where settings do not go together."""
        if self.shadows % 2 or self.shadows == 2:
            raise InputError(
                f"--shadows {self.shadows}: LiRA needs an even number from 4, or 0 to be left out (nearest: "
                f"{max(4, self.shadows + 1)})"
            )
        if self.known == "train" and self.of == "text":
            raise InputError("--known train is of a person's texts: give it with --of person")
