"""`fleetscan scan` of a simulated AWS, with results in a folder or in a bucket."""

import json
import os
import subprocess

SCOPE = ("--services", "lambda,sns,iam", "--regions", "us-east-1,eu-west-1")


class Scanner:
    """Runs fleetscan with the hub of a simulated AWS; results go where `out` says."""

    def __init__(self, fleetscan, aws, folder, out, s3=None):
        self.fleetscan, self.folder, self.out = fleetscan, folder, str(out)
        self.accounts = folder / "accounts.toml"
        hub = aws.get("hub")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
        self.environment = {
            **kept,
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_ACCESS_KEY_ID": hub["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": hub["secret_access_key"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "FLEETSCAN_OUT": self.out,
            "FLEETSCAN_DATA": str(folder / "data"),
            "FLEETSCAN_SHARE": "1",
        }
        if s3:
            self.environment |= {"FLEETSCAN_OUT_ENDPOINT": s3, "FLEETSCAN_OUT_REGION": "us-east-1"}

    def run(self, *command, ok=(0,), **environment):
        done = subprocess.run([self.fleetscan, *map(str, command)], env={**self.environment, **environment}, cwd=self.folder,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode in ok, f"{command}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def json(self, *command, **more):
        return json.loads(self.run(*command, "--json", **more).stdout)

    def scan(self, *flags):
        """A new scan; answers its id."""
        scope = () if "--services" in flags else SCOPE
        return self.json("scan", "--accounts", self.accounts, "--new", *scope, *flags, ok=(0, 3))["id"]
