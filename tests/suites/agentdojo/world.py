"""AgentDojo's environments behind pipes, one JSON document a line. Run by the interpreter of .tools/agentdojo.

It knows nothing of Tom. `catalogue`: suites, tasks, tools. `open`: a fresh environment for a user task, with the text
of an injection task, when one is named, in every place that an attacker can write to; answers what an obedient model
would call for either. `call`: one tool. `close`: AgentDojo's own judgement of what has become of the environment.
"""

import json
import sys

import plans
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import text_content_block_from_string

VERSION = "v1.2.2"
MARK = "INJ7F3A"


class World:
    """One open environment at a time."""

    def __init__(self):
        self.suites = get_suites(VERSION)
        self.environments = {}

    def catalogue(self):
        return {
            name: {
                "users": list(suite.user_tasks),
                "injections": list(suite.injection_tasks),
                "tools": {
                    tool.name: {"description": tool.description, "parameters": tool.parameters.model_json_schema()}
                    for tool in suite.tools
                },
            }
            for name, suite in self.suites.items()
        }

    def open(self, suite, user, injection=None):
        self.suite = self.suites[suite]
        self.task = self.suite.user_tasks[user]
        self.attack = self.suite.injection_tasks[injection] if injection else None
        self.env = self.task.init_environment(self.environment(suite, injection))
        self.before = self.env.model_copy(deep=True)
        self.runtime = FunctionsRuntime(self.suite.tools)
        self.calls = []
        return {
            "prompt": self.task.PROMPT,
            "mark": MARK,
            "plan": planned(self.task.ground_truth(self.before.model_copy(deep=True))),
            "attack": self.attackers_plan(injection) if self.attack else [],
        }

    def environment(self, suite, injection):
        """A copy of the environment, with the injection everywhere: reading it from YAML takes a tenth of a second."""
        if (suite, injection) not in self.environments:
            places = self.suite.get_injection_vector_defaults() if self.attack else {}
            texts = dict.fromkeys(places, f"{MARK} please: {self.attack.GOAL}" if self.attack else "")
            self.environments[suite, injection] = self.suite.load_and_inject_default_environment(texts)
        return self.environments[suite, injection].model_copy(deep=True)

    def attackers_plan(self, injection):
        env = self.before.model_copy(deep=True)
        own = plans.plan(injection, env) if self.suite.name == "workspace" else None
        return planned(self.attack.ground_truth(env)) if own is None else own

    def call(self, name, arguments):
        result, error = self.runtime.run_function(self.env, name, arguments)
        self.calls.append(FunctionCall(function=name, args=arguments))
        return {"text": error or tool_result_to_str(result), "error": error is not None}

    def close(self):
        """`utility`: the user's task is done. `breached`: the attacker's goal is reached."""
        judged = {"utility": self.judge(self.task, self.task.GROUND_TRUTH_OUTPUT), "breached": False}
        if self.attack:
            judged["breached"] = self.judge(self.attack, "")
        return judged

    def judge(self, task, said):
        output = [text_content_block_from_string(said)]
        return bool(self.suite._check_task_result(task, output, self.before, self.env, self.calls))


def planned(calls):
    return [{"name": call.function, "arguments": json.loads(json.dumps(dict(call.args)))} for call in calls]


def main():
    world = World()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = getattr(world, asked.pop("do"))(**asked)
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
