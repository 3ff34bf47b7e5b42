"""Prints the ARN that botocore's credentials of a profile have.

    python3 identity.py PROFILE
"""

import json
import sys

import botocore.session

session = botocore.session.Session(profile=sys.argv[1])
identity = session.create_client("sts").get_caller_identity()
print(json.dumps({"arn": identity["Arn"]}))
