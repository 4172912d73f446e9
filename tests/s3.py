"""A real S3 API over HTTP on loopback (moto's server), and credentials that must never be seen anywhere."""

import json
import os
import urllib.request
from contextlib import contextmanager

import pytest

KEY_ID = "AKIAVAEANOMALYKEYID1"
SECRET = "never/to+be-seen-5f0c9a77e1b3c4d2"  # noqa: S105 - it opens nothing
BUCKET = "lake"


class Store:
    """The server: its address, the variables a process needs to reach it, and clients with all rights."""

    def __init__(self, endpoint):
        import boto3

        self.endpoint = endpoint
        anyone = {"aws_access_key_id": "anyone", "aws_secret_access_key": "anyone"}
        self._client = lambda service: boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **anyone)
        self.s3 = self._client("s3")

    def environment(self, **more):
        """The standard AWS variables, and none of this machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",  # no role of this machine, nor the wait for one
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **more,
        }

    def put(self, key, data):
        """Write an object."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)

    def get(self, key):
        """Read an object."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix=""):
        """Names of the objects that start with a prefix."""
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def empty(self):
        """Remove every object."""
        for key in self.keys():
            self.s3.delete_object(Bucket=BUCKET, Key=key)

    @contextmanager
    def user(self, *actions):
        """The variables of someone who may do these actions alone; until the end of the block the server asks everyone
        for their rights.
        """
        iam, name = self._client("iam"), f"user{len(actions)}"
        iam.create_user(UserName=name)
        allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        if actions:
            iam.put_user_policy(
                UserName=name,
                PolicyName="p",
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
            )
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self._ask_for_rights_after(0)
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._ask_for_rights_after(10**9)
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
            if actions:
                iam.delete_user_policy(UserName=name, PolicyName="p")
            iam.delete_user(UserName=name)

    def _ask_for_rights_after(self, requests):
        url, plain = f"{self.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, str(requests).encode(), plain)  # noqa: S310 - our own server
        urllib.request.urlopen(request).close()  # noqa: S310


def forget_clients():
    """s3fs keeps its clients, each with the variables it was made under."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="session")
def _s3_server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    store = Store("http://{}:{}".format(*server.get_host_and_port()))
    store.s3.create_bucket(Bucket=BUCKET)
    yield store
    server.stop()


@pytest.fixture
def s3(_s3_server, monkeypatch):
    """An S3 server with one empty bucket, reached by the variables of this process."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in _s3_server.environment().items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield _s3_server
    forget_clients()
    _s3_server.empty()
