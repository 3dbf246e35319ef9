"""The batch of a run, shared out over the processes that train it.

``train_dataloader.batch_size`` is the batch of a run, all of its processes together, so that a run computes the same
whatever their number.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shares:
    """A batch over processes.

    Attributes:
        batch (int): images in a batch, as the run has it.
        processes (int): how many share it.
        each (int): images of each, the nearest whole number and at least 1.
    """

    batch: int
    processes: int
    each: int

    @property
    def real(self) -> int:
        """Images in a batch as trained."""
        return self.each * self.processes

    def note(self) -> str:
        """A line where the batch does not divide; empty where it does."""
        if self.real == self.batch:
            return ''
        return (
            f'a batch of {self.batch} images does not divide over {self.processes} processes: {self.each} each make '
            f'{self.real}, and the learning rate is scaled by {self.real}/{self.batch}'
        )


def shares(config: dict, processes: int) -> Shares:
    """How the batch of a config divides over processes."""
    batch = config['train_dataloader']['batch_size']
    return Shares(batch, processes, max(round(batch / processes), 1))


def share_out(config: dict, processes: int) -> Shares:
    """Give each process its images, as mmengine counts them, in a config that is changed.

    Where that makes another batch the learning rate is scaled linearly, as ``auto_scale_lr`` always does from 16 images
    where it is enabled.
    """
    found = shares(config, processes)
    config['train_dataloader']['batch_size'] = found.each
    scaled = config.get('auto_scale_lr') or {}
    if found.real != found.batch and not scaled.get('enable'):
        config['auto_scale_lr'] = dict(enable=True, base_batch_size=found.batch)
    return found
