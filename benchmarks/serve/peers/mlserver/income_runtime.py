"""MLServer: a runtime of our own over ONNX Runtime, one tensor a column."""

import numpy as np
from income import INPUTS, OUTPUTS, open_session
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Income(MLModel):
    """The model as MLServer calls it."""

    async def load(self) -> bool:
        """Open the graph."""
        self.session = open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the rows of one request, or of a batch that MLServer made."""
        given = {tensor.name: tensor for tensor in payload.inputs}
        feeds = {}
        for name, columns in INPUTS.items():
            if name == "texts":
                texts = [StringCodec.decode_input(given[column]) for column in columns]
                feeds[name] = np.array(texts, object).T
            else:
                numbers = [NumpyCodec.decode_input(given[column]).ravel() for column in columns]
                feeds[name] = np.stack(numbers, axis=1).astype(np.float64)
        labels, probabilities = self.session.run(OUTPUTS, feeds)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                StringCodec.encode_output("prediction", labels.tolist()),
                NumpyCodec.encode_output("probabilities", probabilities),
            ],
        )
