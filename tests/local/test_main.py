from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
import requests

from airflow_provider_imagetasks.local.__main__ import main


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_announces_its_url_and_stops_at_a_signal(stop):
    command = [sys.executable, "-m", "airflow_provider_imagetasks.local", "--port", "0", "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        url = line.removeprefix("Local image service on ").split()[0]
        assert "double" in line
        assert requests.get(f"{url}/health", timeout=10).ok
        process.send_signal(stop)
        assert (process.wait(timeout=60), process.stderr.read()) == (0, "")


def test_the_command_says_what_option_makes_no_sense_and_when_the_port_is_taken(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--latency", "soon"])
    assert "imagetasks-local: error: a latency" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "cannot serve on 127.0.0.1" in capsys.readouterr().err
