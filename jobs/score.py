"""spark-submit job: score the config's source with its model file and write the output.

Arguments as for `vae-anomaly score`: --config FILE, --set dotted.key=value, --param name=value, --log auto|plain|json.
"""

import sys

from vae_model.cli import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
