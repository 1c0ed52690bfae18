"""FastAPI and ONNX Runtime, the model called in the event loop (faster than its thread pool)."""

from typing import Any

from fastapi import FastAPI
from income import OUTPUTS, Answers, Rows, answers, matrices, open_session

app = FastAPI()
session = open_session()


@app.post("/predict", response_model=Answers)
async def predict(body: Rows) -> dict[str, Any]:
    """Answer the rows."""
    outputs = session.run(OUTPUTS, matrices([vars(row) for row in body.rows]))
    return {"predictions": answers(outputs)}
