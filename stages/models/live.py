"""What a training tells while it runs: a row an epoch, through DVCLive, to follow as it grows."""

from pathlib import Path

from dvclive import Live
from dvclive.keras import DVCLiveCallback


class _Log(DVCLiveCallback):
    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Go on counting: the end of an earlier phase has set the step back to the last one."""
        if "step" in self.live.summary:
            self.live.step = self.live.summary["step"] + 1


def live_log(folder: Path) -> DVCLiveCallback:
    """Log every epoch below `folder`, as Keras callback: one TSV a metric, `step` counting from 0.

    `plots/metrics/{train,eval}/{loss,accuracy}.tsv` hold a line an epoch, `metrics.json` the last.
    What an earlier training logged there is deleted; the phases of one training share a callback.
    Nothing is sent anywhere unless DVC Studio's token was set up on this machine.
    """
    # By default Live() writes plots into the dvc.yaml of the repository and saves an experiment.
    live = Live(str(folder), dvcyaml=None, save_dvc_exp=False)
    return _Log(live=live)
