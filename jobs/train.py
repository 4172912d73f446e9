"""spark-submit job: train on the normal rows of the config's source and write the model file.

Arguments as for `vae-anomaly train`: --config FILE, --set dotted.key=value, --param name=value, --log auto|plain|json.
"""

import sys

from vae_model.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
