"""`make ui` and `make ui-stop`: one server a folder, a run started as the UI does it, clear refusals."""

import socket

from tests.flows.conftest import Project, Server, until


def test_the_nightly_deployment_runs_when_it_is_started(server: Server) -> None:
    deployments = {deployment["name"]: deployment for deployment in server.post("deployments/filter", {})}
    assert set(deployments) == {"nightly", "on-demand"}
    deployment = deployments["nightly"]
    assert [schedule["schedule"]["cron"] for schedule in deployment["schedules"]] == ["0 2 * * *"]
    assert deployments["on-demand"]["schedules"] == []

    parameters = {"until": "toy", "force": True}
    run = server.post(f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    query = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    done = until(lambda: [one for one in server.post("flow_runs/filter", query) if one["end_time"]])
    assert (done[0]["state_name"], done[0]["state"]["message"]) == ("Completed", "toy completed")
    assert server.task_runs(run["id"])["toy"][0] == "Completed"


def test_schedules_made_in_the_interface_survive_the_next_start(server: Server) -> None:
    deployment = server.deployment("on-demand")
    weekly = {"schedule": {"cron": "0 3 * * 1", "timezone": "UTC"}, "active": True, "parameters": {"until": "toy"}}
    nightly = server.deployment("nightly")
    (given,) = nightly["schedules"]
    server.post(f"deployments/{deployment['id']}/schedules", [weekly])
    server.request(f"deployments/{nightly['id']}/schedules/{given['id']}", {"active": False}, "PATCH")
    try:
        again = server.project.python("-c", "from flows.ui import deploy; deploy()", PREFECT_API_URL=server.api)
        assert again.returncode == 0, again.stderr
        (kept,) = server.deployment("on-demand")["schedules"]
        assert (kept["schedule"]["cron"], kept["parameters"], kept["active"]) == ("0 3 * * 1", {"until": "toy"}, True)
        assert [each["active"] for each in server.deployment("nightly")["schedules"]] == [False]
    finally:
        for each in server.deployment("on-demand")["schedules"]:
            server.request(f"deployments/{deployment['id']}/schedules/{each['id']}", None, "DELETE")


def test_the_form_offers_what_there_is_and_refuses_the_rest(server: Server) -> None:
    deployment = server.deployment("on-demand")
    parameters = deployment["parameter_openapi_schema"]["properties"]
    assert list(parameters) == ["experiment", "overrides", "until", "force"]
    assert "smoke" in parameters["experiment"]["enum"]
    assert parameters["until"]["enum"] == ["the end", "toy", "copy"]
    # A default that the form shows: for a null it would ask for a type first.
    assert {name: described["default"] for name, described in parameters.items()} == {
        "experiment": "params.yaml as it stands", "overrides": [], "until": "the end", "force": False,
    }  # fmt: skip
    for wrong in ({"until": "coppy"}, {"experiment": "smok"}, {"overrides": ["no value"]}, {"force": "perhaps"}):
        status, answer = server.request(f"deployments/{deployment['id']}/create_flow_run", {"parameters": wrong})
        assert status in {409, 422}, answer


def test_the_interface_points_at_its_own_port(server: Server) -> None:
    settings = server.project.python(
        "-c", f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{server.port}/ui-settings').read())"
    )
    assert f"http://127.0.0.1:{server.port}/api" in settings.stdout


def test_a_second_one_in_the_same_folder_is_refused(server: Server) -> None:
    result = server.project.python("-m", "flows.ui", "start", "--port", str(server.port + 1))
    assert result.returncode == 1
    assert result.stderr == "error: the UI is running in this folder already; end it with `python -m flows.ui stop`\n"


def test_a_taken_port_is_named(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = project.python("-m", "flows.ui", "start", "--port", str(port))
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: port {port}: Address already in use; choose another")
    assert result.stderr.count("\n") == 1


def test_ending_what_does_not_run_is_no_error(project: Project) -> None:
    result = project.python("-m", "flows.ui", "stop")
    assert (result.returncode, result.stdout) == (0, "ui: not running\n")
