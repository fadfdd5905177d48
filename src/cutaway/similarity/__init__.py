"""How alike two images look: distances between the features of a pretrained network.

Zhang, Isola, Efros, Shechtman & Wang 2018, The unreasonable effectiveness of deep features as a perceptual metric (CVPR,
arXiv 1801.03924), known as LPIPS.

    distance.py  the module Distance: read this first
    term.py      one layer's share of it, and its gradient, finite everywhere
    comparison.py    what comes back: distances, each layer's share, maps, the name of every part
    inputs.py    the images: their range declared and checked, and turned into what a trunk reads
    load.py      distance(a, b, range=(0, 1)), and a Distance by name: the trunk, its weights, the linear weights
    trunk.py     what a trunk is; each is one file in trunks/
    linear.py    the published linear weights, and checkpoints that hold a trunk of their own
    weights.py   files of weights: where they come from, their checksums, nothing unpickled
    compressed.py    the format of Deep Compression, in which SqueezeNet 1.0 was published
    images.py    image files, and pairs of them in two folders
    heat.py      a map of distances over an image
"""
