"""Half of the generated paths name something that exists, so that more than `not_found` is met.

KNOWN_IDS is JSON: for each resource the id that was made before.
"""
import json
import os

import schemathesis

KNOWN = json.loads(os.environ["KNOWN_IDS"])


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters or sum(map(ord, str(path_parameters))) % 2:
        return path_parameters
    # DELETE is among them: what it takes is gone, and what comes after it meets `not_found`.
    resource = context.operation.path.split("/")[3]
    known = {"id": KNOWN.get(resource), "device_id": KNOWN["devices"]}
    return {name: known.get(name) or value for name, value in path_parameters.items()}


@schemathesis.hook
def before_call(context, case, kwargs):
    # The fuzzer takes ids from answers, and revoking the token that it shows would end the run with nothing but 401.
    if case.operation.path == "/api/v1/tokens/{id}" and case.path_parameters.get("id") == KNOWN["own_token"]:
        case.path_parameters["id"] = "unknown"
