"""The room `tagging`, for the contract that all rooms keep."""

from pathlib import Path

from cutaway.core.training import Training
from cutaway.tagging.config import Config
from cutaway.tagging.corpus import read_corpus
from rooms import Room
from tagging import made_up


def write(folder: Path) -> Path:
    return made_up.written(made_up.corpus(64, 16, 16), folder / "commands")


def config(folder: Path) -> Config:
    place = folder / "encoder"
    if not place.exists():
        made_up.encoder(place)
    training = Training(epochs=3, batch=16, lr=1e-2, checkpoint_every=3)
    return Config(decoder="crf", fresh_lr=1.0, training=training, options={"encoder.name": str(place)})


ROOM = Room(
    name="tagging",
    write=write,
    read=read_corpus,
    config=config,
    held_out=lambda corpus: corpus.test,
    inputs=("book a table for two in rome tomorrow", "will it rain in oslo"),
)
