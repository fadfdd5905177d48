"""The room `tuning`, for the contract that all rooms keep."""

from pathlib import Path

from cutaway.core.training import Training
from cutaway.tuning.config import Config
from cutaway.tuning.corpus import read_corpus
from rooms import Room
from tuning import made_up, pretrained


def write(folder: Path) -> Path:
    return made_up.written(made_up.corpus("labels", 96, 24, 24), folder / "reviews")


def config(folder: Path) -> Config:
    place = folder / "encoder"
    if not place.exists():
        pretrained.encoder(place)
    training = Training(epochs=3, batch=16, lr=1e-2, checkpoint_every=3)
    return Config(model=str(place), length=16, training=training, options={"lora.rank": 4})


ROOM = Room(
    name="tuning",
    write=write,
    read=read_corpus,
    config=config,
    held_out=lambda corpus: corpus.test,
    inputs=("the old river is lovely", "a dreadful stone"),
)
