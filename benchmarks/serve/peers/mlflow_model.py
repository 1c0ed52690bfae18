"""MLflow: a pyfunc of our own over ONNX Runtime. `python mlflow_model.py FOLDER` saves it there."""

import sys
from typing import Any

import mlflow
import pandas as pd
from income import INPUTS, MANIFEST, OUTPUTS, answers, matrices, open_session


class Income(mlflow.pyfunc.PythonModel):
    """The model as MLflow calls it."""

    def load_context(self, context: Any) -> None:  # noqa: ARG002  MLflow gives it
        """Open the graph."""
        self.session = open_session()

    def predict(self, context: Any, model_input: pd.DataFrame) -> list[dict[str, Any]]:  # noqa: ARG002  MLflow gives it
        """Answer the rows of a table."""
        return answers(self.session.run(OUTPUTS, matrices(model_input.to_dict("records"))))


if __name__ == "__main__":
    columns = MANIFEST["schema"]["columns"]
    whole = MANIFEST["example"] | {
        name: float(MANIFEST["example"][name]) for name in INPUTS["numbers"]
    }
    gaps = whole | {column["name"]: None for column in columns if column["nullable"]}
    example = pd.DataFrame([whole, gaps])
    mlflow.pyfunc.save_model(sys.argv[1], python_model=__file__, input_example=example)
else:
    mlflow.models.set_model(Income())
