"""Where the launcher hands over: the private Python, with only its own standard library on its path yet."""

import os
import sys

sys.path.append("/supervisor/site")

# OpenSSL would read the image's openssl.cnf, or OPENSSL_CONF, made for another release. putenv changes what C
# code sees and leaves os.environ, from which the model's environment is made, as the image has it.
os.putenv("OPENSSL_CONF", "/supervisor/openssl.cnf")

from supervisor.cli import program

program()
