"""Celery's configuration for a test: a broker that needs no server, in the program's directory."""

import os

_FOLDER = os.environ["TEST_DIRECTORY"] + "/queue"

broker_transport_options = {
    "data_folder_in": _FOLDER,
    "data_folder_out": _FOLDER,
    "control_folder": _FOLDER + "-control",
    "polling_interval": 0.02,
}
broker_connection_retry_on_startup = True
