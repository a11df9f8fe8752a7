"""What is deployed is what the program takes: manifests against their schemas, their flags and variables against the
program itself, and the servers' configuration files against the servers."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import check_jsonschema
import jsonschema
import kubernetes_validate
import pytest
import yaml

import fleet
import monitoring
import servers

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("small", "production", "simulated")
# Which version of Kubernetes' API the manifests are held against.
API = "1.31"
# Operators' kinds, whose schemas are in no package: the fields that are used, as their documents name them.
OPERATORS = {
    "ScaledObject": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "fallback", "advanced", "triggers"},
    "PodMonitor": {"jobLabel", "selector", "podMetricsEndpoints"},
    "ServiceMonitor": {"selector", "endpoints"},
    "PrometheusRule": {"groups"},
    "RabbitmqCluster": {"replicas", "image", "persistence", "resources", "tls", "rabbitmq", "affinity"},
    "Vhost": {"name", "rabbitmqClusterReference"},
    "User": {"rabbitmqClusterReference", "importCredentialsSecret"},
    "Permission": {"vhost", "userReference", "permissions", "rabbitmqClusterReference"},
}


def schema_of_compose():
    folder = pathlib.Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor"
    return json.loads((folder / "compose-spec.json").read_text())


def composed(name="compose.yaml"):
    return yaml.safe_load((COMPOSE / name).read_text())


def merged():
    """Both files, as Compose lays one upon the other, so far as it matters here."""
    whole, more = composed(), composed("compose.simulated.yaml")
    for name, service in more["services"].items():
        mine = whole["services"].setdefault(name, {})
        for key, value in service.items():
            old = mine.get(key)
            mine[key] = {**old, **value} if isinstance(old, dict) else value
    return whole


# -- The program --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def takes(fleetscan, tmp_path_factory):
    """Whether the program takes these words: its own parser is asked, and nothing is run."""
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "FLEETSCAN_"))}
    folder = tmp_path_factory.mktemp("parsed")

    def ask(words, environment=None):
        # Unknown flags, missing ones and bad values end with 2, before `--help` would be an answer.
        known = subprocess.run([fleetscan, *words, "--help"], env=quiet, capture_output=True, text=True, timeout=20, cwd=folder)
        assert known.returncode == 0, (words, known.stderr)
        if environment is not None:
            unknown = {name for name in environment if name.startswith("FLEETSCAN_")} - variables(known.stdout)
            assert not unknown, f"{words[0]} does not read {unknown}"

    return ask


# Read from the environment alone, or by every command, and so in no command's help.
EVERYWHERE = {"FLEETSCAN_LOG", "FLEETSCAN_LOG_FORMAT", "FLEETSCAN_TOKEN", "FLEETSCAN_KEY"}


def variables(help_text):
    joined = re.sub(r"\n\s+", " ", help_text)
    return set(re.findall(r"env: (FLEETSCAN_\w+)", joined)) | EVERYWHERE


def every_variable(fleetscan):
    """Of coordinators, workers and operators' commands together, which share a ConfigMap."""
    found = set()
    for command in ("coordinator", "worker", "doctor", "accounts", "scans"):
        found |= variables(subprocess.run([fleetscan, command, "--help"], capture_output=True, text=True, timeout=20).stdout)
    return found


def test_a_wrong_flag_or_variable_would_be_noticed(takes):
    takes(["worker", "--drain-seconds", "9"], {"FLEETSCAN_SHARE": "1"})
    with pytest.raises(AssertionError, match="unexpected argument"):
        takes(["worker", "--drain-second", "9"])
    with pytest.raises(AssertionError, match="does not read"):
        takes(["worker"], {"FLEETSCAN_SHARED": "1"})


# -- The image ----------------------------------------------------------------------------------------------------------


def test_the_dockerfile_is_linted_and_says_what_it_must(takes):
    linter = pathlib.Path(os.sys.executable).parent / "hadolint"
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    text = (ROOT / "Dockerfile").read_text()
    last = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER (?!0)\d+:\d+$", last, re.M), "Kubernetes can tell only by a number that it is not root"
    health = json.loads(re.search(r"HEALTHCHECK .*CMD (\[.*\])", last).group(1))
    entry = json.loads(re.search(r"ENTRYPOINT (\[.*\])", last).group(1))
    assert health[0] == entry[0] == "/usr/local/bin/fleetscan"
    takes(health[1:], {"FLEETSCAN_LISTEN": ""})
    assert "cargo auditable build --locked --release" in text and "cyclonedx" in text and "cargo about generate --locked" in text
    for install in re.findall(r"cargo install .*", text):
        assert "--locked" in install and re.search(r"@\$\{CARGO_\w+\}", install), f"not pinned: {install}"


def test_the_images_context_has_all_that_is_built(tmp_path):
    """Cargo reads the workspace of what .dockerignore lets through."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*" and "**/secrets" in rules
    for rule in rules[1:]:
        if not rule.startswith("!"):
            continue
        source, target = ROOT / rule[1:], tmp_path / rule[1:]
        assert source.exists(), f"{rule} lets nothing through"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    done = subprocess.run(["cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--no-deps"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {package["name"] for package in json.loads(done.stdout)["packages"]}
    assert {"fleetscan-cli", "fleetscan-tests"} <= names
    for rust in tmp_path.rglob("*.rs"):
        for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', rust.read_text()):
            if not included.endswith(".md") and "tests" not in rust.parts:
                assert (rust.parent / included).exists(), f"{rust} includes {included}, which .dockerignore keeps out"


def test_health_is_asked_of_the_process_itself(fleetscan, tmp_path):
    port = servers.free_port()
    simulator = subprocess.Popen([fleetscan, "simulator", "--listen", f"127.0.0.1:{port}", "--accounts", "1", "--accounts-file", tmp_path / "a.toml"], stdout=subprocess.DEVNULL)
    try:
        servers.until(lambda: servers.answers(port), 30)
        ask = lambda *words, **more: subprocess.run([fleetscan, "health", *words], capture_output=True, text=True, timeout=20, **more)
        assert ask(f"http://127.0.0.1:{port}/_simulator/hub").returncode == 0
        lost = ask(f"http://127.0.0.1:{port}/_simulator/nothing")
        assert lost.returncode == 1 and "answers 40" in lost.stderr, lost
    finally:
        simulator.kill()
        simulator.wait(10)
    away = ask(env={**os.environ, "FLEETSCAN_LISTEN": f"0.0.0.0:{port}"})
    assert away.returncode == 1 and f"http://127.0.0.1:{port}/healthz does not answer" in away.stderr, away
    assert ask("ftp://x").returncode == 2
    nobody = ask(env={k: v for k, v in os.environ.items() if k != "FLEETSCAN_LISTEN"})
    assert nobody.returncode == 2 and "FLEETSCAN_LISTEN" in nobody.stderr


# -- Compose ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["compose.yaml", "compose.simulated.yaml"])
def test_compose_files_keep_to_the_schema(name):
    jsonschema.validate(composed(name), schema_of_compose())


def test_compose_starts_what_the_program_takes(takes, fleetscan):
    shared = composed()["x-environment"].keys()
    assert {name for name in shared if name.startswith("FLEETSCAN_")} <= every_variable(fleetscan)
    ours = 0
    for name, service in merged()["services"].items():
        if "fleetscan" not in service["image"]:
            continue
        takes(service.get("command", ["accounts", "list"]), service.get("environment", {}).keys() - shared)
        check = service.get("healthcheck", {}).get("test")
        if check:
            takes(check[2:])
        ours += 1
    assert ours == 5


def test_compose_hardens_every_service():
    for name, service in merged()["services"].items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "cpus"} <= service.keys() or name == "operator", f"{name} is bounded by nothing"
        assert ":" in service["image"].split("/")[-1] and not service["image"].endswith(":latest"), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to everybody"
    worker = merged()["services"]["worker"]
    assert int(worker["stop_grace_period"].rstrip("s")) > 45, "shorter than --drain-seconds"


def test_compose_names_only_what_is_there(tmp_path):
    whole = merged()
    shutil.copytree(COMPOSE, tmp_path / "compose", ignore=shutil.ignore_patterns("secrets", "accounts"))
    subprocess.run([tmp_path / "compose" / "prepare"], check=True, capture_output=True)
    before = (tmp_path / "compose" / "secrets" / "key").read_bytes()
    subprocess.run([tmp_path / "compose" / "prepare"], check=True, capture_output=True)
    assert before == (tmp_path / "compose" / "secrets" / "key").read_bytes(), "a second run changed the key"
    assert (tmp_path / "compose" / "secrets").stat().st_mode & 0o777 == 0o700
    for secret in whole["secrets"].values():
        assert (tmp_path / "compose" / secret["file"]).stat().st_mode & 0o444 == 0o444, "its container's user cannot read it"
    volumes = {**whole["volumes"], **composed("compose.simulated.yaml")["volumes"]}
    for name, service in whole["services"].items():
        for given in service.get("secrets", []):
            assert (given if isinstance(given, str) else given["source"]) in whole["secrets"], (name, given)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in volumes or (COMPOSE / source).exists() or source == "./accounts", (name, volume)
        assert set(service.get("networks", [])) <= whole["networks"].keys(), name
        assert set(service.get("depends_on", {})) <= whole["services"].keys(), name
        for variable, value in service.get("environment", {}).items():
            if variable.endswith("_FILE") and str(value).startswith("/run/secrets/"):
                given = [g if isinstance(g, str) else pathlib.Path(g["target"]).name for g in service["secrets"]]
                assert pathlib.Path(value).name in given, f"{name}: {variable} names a secret that it is not given"


def test_the_simulations_keys_are_the_simulators(fleetscan, tmp_path):
    command = merged()["services"]["simulator"]["command"]
    command[command.index("--listen") + 1] = "127.0.0.1:0"
    command[command.index("--accounts-file") + 1] = str(tmp_path / "accounts.toml")
    process = subprocess.Popen([fleetscan, *command], stdout=subprocess.PIPE, text=True)
    told = "".join(process.stdout.readline() for _ in range(4))
    process.kill()
    process.wait(10)
    said = set(re.findall(r"(AWS_\w+KEY\w*)=(\S+)", told))
    assert len(said) == 2, told
    compose = composed("compose.simulated.yaml")["x-simulated"]
    assert said <= set(compose.items())
    literals = yaml.safe_load((KUBERNETES / "overlays" / "simulated" / "kustomization.yaml").read_text())["configMapGenerator"][0]["literals"]
    assert {f"{name}={value}" for name, value in said} <= set(literals)


def test_the_servers_run_with_their_files_and_the_fleet_with_their_users(fleetscan, tmp_path):
    """RabbitMQ and Redis as compose.yaml configures them: `doctor` finds nothing to mend, and a scan is read."""
    compose = tmp_path / "compose"
    shutil.copytree(COMPOSE, compose, ignore=shutil.ignore_patterns("secrets", "accounts"))
    subprocess.run([compose / "prepare"], check=True, capture_output=True)
    secrets = compose / "secrets"
    lines = (compose / "rabbitmq.conf").read_text().splitlines() + (secrets / "rabbitmq-user.conf").read_text().splitlines()
    dropped = ("listeners.tcp.default", "prometheus.tcp.port", "vm_memory", "disk_free_limit", "log.")
    rabbit = servers.Rabbit(tmp_path / "rabbit", *(line for line in lines if not line.startswith(dropped)))
    text = (compose / "redis.conf").read_text().replace("/run/secrets/redis-user.conf", str(secrets / "redis-user.conf"))
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "redis.conf").write_text(text.replace("dir /data", f"dir {folder}").replace("port 6379", "port 0"))
    redis = servers.Configured(folder / "redis.conf", (secrets / "store-password").read_text().strip())
    team = fleet.Fleet(fleetscan, tmp_path, ("--accounts", "3", "--seed", "5", "--limits", "off"), rabbit=rabbit, redis=redis)
    shared = composed()["x-environment"]
    team.environment |= {
        "FLEETSCAN_STORE": redis.url,
        "FLEETSCAN_STORE_PASSWORD_FILE": str(secrets / "store-password"),
        "FLEETSCAN_BROKER": shared["FLEETSCAN_BROKER"].replace("rabbitmq:5672", f"127.0.0.1:{rabbit.port}"),
        "FLEETSCAN_BROKER_PASSWORD_FILE": str(secrets / "broker-password"),
        "FLEETSCAN_KEY_FILE": str(secrets / "key"),
    }
    del team.environment["FLEETSCAN_KEY"]
    try:
        team.connect()
        team.coordinator()
        team.worker("worker-0")
        shown = team.ended(team.scan("--services", "iam,lambda"))
        assert shown["state"] == "finished", shown
        found = team.json("doctor")
        assert all(finding["ok"] for finding in found), found
        # And no more than it needs: not another fleet's queues.
        user = rabbit.control("list_permissions", "-p", "fleetscan", "--no-table-headers").split("\t")
        assert [part.strip() for part in user] == ["fleetscan"] + [r"^fleetscan\..*"] * 3
        assert "administrator" not in rabbit.control("list_users")
    finally:
        team.end()


def test_only_who_opens_grants_has_the_key(rendered):
    services = composed()["services"]
    assert {name for name, service in services.items() if "key" in service.get("secrets", [])} == {"worker", "operator"}
    for overlay, one, pod in pods(rendered):
        has = any(volume.get("secret", {}).get("secretName", "").startswith("fleetscan-key") for volume in pod.get("volumes", []))
        assert has == (one["metadata"]["name"] in ("fleetscan-worker", "fleetscan-connect")), (overlay, one["metadata"]["name"])
    assert "LoadCredential=key:" not in (DEPLOY / "systemd" / "fleetscan-coordinator.service").read_text()


def test_prometheus_of_compose_watches_the_jobs_that_dashboards_know():
    ours = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    theirs = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())
    assert [job["job_name"] for job in theirs["scrape_configs"]] == [job["job_name"] for job in ours["scrape_configs"]]
    services = composed()["services"]
    named = set(theirs["scrape_configs"][0]["dns_sd_configs"][0]["names"])
    assert named == {name for name in services if name.startswith(("coordinator", "worker"))}
    done = subprocess.run(["promtool", "check", "config", "--syntax-only", COMPOSE / "prometheus.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- Kubernetes ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered():
    """Each overlay's objects, as Kustomize makes them."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            break
    else:
        pytest.skip("neither kustomize nor kubectl is there")
    made = {}
    for overlay in OVERLAYS:
        done = subprocess.run([*command, KUBERNETES / "overlays" / overlay], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        made[overlay] = [one for one in yaml.safe_load_all(done.stdout) if one]
    return made


def objects(rendered, *kinds):
    for overlay, made in rendered.items():
        for one in made:
            if not kinds or one["kind"] in kinds:
                yield overlay, one


def pods(rendered):
    for overlay, one in objects(rendered, "Deployment", "StatefulSet", "Job"):
        yield overlay, one, one["spec"]["template"]["spec"]


def test_objects_keep_to_their_schemas(rendered):
    seen = set()
    for overlay, one in objects(rendered):
        group = one["apiVersion"].split("/")[0]
        seen.add(one["kind"])
        if "." not in group or group.endswith(".k8s.io"):
            kubernetes_validate.validate(one, API, strict=True)
        else:
            assert one["spec"].keys() <= OPERATORS[one["kind"]], (overlay, one["kind"])
    assert {"ScaledObject", "PodMonitor", "PrometheusRule", "RabbitmqCluster", "HorizontalPodAutoscaler", "PodDisruptionBudget"} <= seen


def test_pods_start_what_the_program_takes(rendered, takes, fleetscan):
    known = every_variable(fleetscan)
    for overlay, one, pod in pods(rendered):
        made = {(o["kind"], o["metadata"]["name"]): o for o in rendered[overlay]}
        for container in pod["containers"] + pod.get("initContainers", []):
            if "fleetscan" not in container["image"]:
                continue
            takes(container["args"], {env["name"]: "" for env in container.get("env", [])})
            for source in container.get("envFrom", []):
                data = made["ConfigMap", source["configMapRef"]["name"]]["data"]
                unknown = {name for name in data if name.startswith("FLEETSCAN_")} - known
                assert not unknown, (overlay, unknown)
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                command = container.get(probe, {}).get("exec", {}).get("command")
                if command:
                    takes(command[1:])
            for env in container.get("env", []):
                place = env.get("value", "")
                if env["name"].endswith("_FILE"):
                    assert any(place.startswith(mount["mountPath"] + "/") for mount in container["volumeMounts"]), (overlay, env)


def test_pods_are_restricted(rendered):
    """What the namespace's Pod Security level `restricted` asks, and a read-only root, and bounded memory."""
    for overlay, one, pod in pods(rendered):
        where = overlay, one["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", where
        assert pod["automountServiceAccountToken"] is False, where
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, where
            assert "memory" in container["resources"]["limits"], where


def test_what_is_referred_to_exists_or_is_the_operators_to_make(rendered):
    documented = (KUBERNETES / "README.md").read_text() + "".join(p.read_text() for p in (KUBERNETES / "components").rglob("kustomization.yaml"))
    for overlay, one, pod in pods(rendered):
        made = {(o["kind"], o["metadata"]["name"]) for o in rendered[overlay]}
        named = [("PersistentVolumeClaim", v["persistentVolumeClaim"]["claimName"]) for v in pod.get("volumes", []) if "persistentVolumeClaim" in v]
        named += [("ConfigMap", v["configMap"]["name"]) for v in pod.get("volumes", []) if "configMap" in v]
        secrets = [v["secret"]["secretName"] for v in pod.get("volumes", []) if "secret" in v]
        for container in pod["containers"]:
            named += [("ConfigMap", s["configMapRef"]["name"]) for s in container.get("envFrom", [])]
            volumes = {v["name"] for v in pod.get("volumes", [])} | {c["metadata"]["name"] for c in one["spec"].get("volumeClaimTemplates", [])}
            assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes, (overlay, one["metadata"]["name"])
        if "serviceAccountName" in pod:
            named.append(("ServiceAccount", pod["serviceAccountName"]))
        assert set(named) <= made, (overlay, set(named) - made)
        for secret in secrets:
            assert ("Secret", secret) in made or f"`{secret}`" in documented or secret in documented, (overlay, secret)


def test_selectors_select(rendered):
    for overlay, made in rendered.items():
        labels = [o["spec"]["template"]["metadata"]["labels"] for o in made if o["kind"] in ("Deployment", "StatefulSet", "Job")]
        if overlay == "production":  # What the operator makes.
            labels.append({"app.kubernetes.io/name": "fleetscan-rabbitmq"})
        for one in made:
            selector = one["spec"].get("selector") if one["kind"] in ("Service", "PodDisruptionBudget", "PodMonitor") else None
            if one["kind"] == "NetworkPolicy":
                selector = one["spec"]["podSelector"]
            if selector is None or "matchExpressions" in selector:
                continue
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= have.items() for have in labels), (overlay, one["kind"], one["metadata"]["name"])
            if one["kind"] == "Service":
                ports = {port["name"] for o in made if o["kind"] in ("Deployment", "StatefulSet") and wanted.items() <= o["spec"]["template"]["metadata"]["labels"].items()
                         for container in o["spec"]["template"]["spec"]["containers"] for port in container.get("ports", [])}
                assert {port.get("targetPort", port["name"]) for port in one["spec"]["ports"]} <= ports, one["metadata"]["name"]


def test_a_worker_has_time_to_hand_in_what_it_has(rendered):
    for overlay, one, pod in pods(rendered):
        if one["metadata"]["name"] == "fleetscan-worker":
            arguments = pod["containers"][0]["args"]
            assert pod["terminationGracePeriodSeconds"] > int(arguments[arguments.index("--drain-seconds") + 1])


def test_one_thing_alone_says_how_many_workers_there_are(rendered):
    for overlay, made in rendered.items():
        scalers = [o for o in made if o["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]
        worker = next(o for o in made if o["metadata"]["name"] == "fleetscan-worker" and o["kind"] == "Deployment")
        assert len(scalers) + ("replicas" in worker["spec"]) == 1, overlay
        config = next(o["data"] for o in made if o["kind"] == "ConfigMap" and "FLEETSCAN_SHARDS" in o.get("data", {}))
        for scaler in scalers:
            most = scaler["spec"].get("maxReplicaCount") or scaler["spec"]["maxReplicas"]
            assert most <= int(config["FLEETSCAN_SHARDS"]), "a worker without a shard has no work"


def test_keda_asks_for_a_metric_that_there_is(rendered):
    query = next(one for _, one in objects(rendered, "ScaledObject"))["spec"]["triggers"][0]["metadata"]["query"]
    known = {selector for _, _, text in monitoring.panels() for selector in monitoring.selectors(text)}
    name = re.search(r"fleetscan_\w+", query).group(0)
    assert any(selector.startswith(name) for selector in known), query
    assert 'queue="ready"' in query


def test_prometheus_operators_rules_are_the_alerts(rendered):
    rule = next(one for _, one in objects(rendered, "PrometheusRule"))
    assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text()), "run `fleetscan catalogue write .`"


def test_every_dashboard_is_brought(rendered):
    boards = next(one for _, one in objects(rendered, "ConfigMap") if one["metadata"]["name"] == "fleetscan-dashboards")
    assert set(boards["data"]) == {path.name for path in (ROOT / "dashboards").glob("*.json")}
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_secrets_script_makes_what_pods_read(rendered):
    made = yaml.safe_load_all(subprocess.run([KUBERNETES / "secrets", "elsewhere"], check=True, capture_output=True, text=True).stdout)
    keys = {}
    for secret in made:
        kubernetes_validate.validate(secret, API, strict=True)
        assert secret["metadata"]["namespace"] == "elsewhere"
        keys[secret["metadata"]["name"]] = set(secret["stringData"])
    simulated = {re.sub(r"-[a-z0-9]{10}$", "", o["metadata"]["name"]): set(o["data"]) for o in rendered["simulated"] if o["kind"] == "Secret"}
    assert keys == simulated


# -- systemd ------------------------------------------------------------------------------------------------------------

UNITS = ("fleetscan-coordinator.service", "fleetscan-worker@.service")


def unit_lines(name):
    text = (DEPLOY / "systemd" / name).read_text()
    return [tuple(line.split("=", 1)) for line in text.splitlines() if "=" in line and not line.startswith("#")]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
@pytest.mark.parametrize("name", UNITS)
def test_units_are_well_made_and_hardened(name, fleetscan, tmp_path):
    text = (DEPLOY / "systemd" / name).read_text().replace("/usr/local/bin/fleetscan", fleetscan)
    unit = tmp_path / name
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and name not in done.stderr, done.stderr
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-400:]


@pytest.mark.parametrize("name", UNITS)
def test_units_start_what_the_program_takes(name, takes, fleetscan):
    lines = unit_lines(name)
    words = next(value for key, value in lines if key == "ExecStart").split()
    environment = dict(value.split("=", 1) for key, value in lines if key == "Environment")
    takes(words[1:], environment)
    loaded = {value.split(":")[0] for key, value in lines if key == "LoadCredential"}
    used = {value.removeprefix("%d/") for value in environment.values() if value.startswith("%d/")}
    assert loaded == used
    shared = [line.split("=")[0] for line in (DEPLOY / "systemd" / "fleetscan.env").read_text().splitlines() if line and line[0] != "#"]
    assert set(shared) <= every_variable(fleetscan)
    if "worker" in name:
        assert int(dict(lines)["TimeoutStopSec"]) > 45, "shorter than --drain-seconds"
