"""BentoML: a batchable API of pydantic rows."""

import bentoml
from income import OUTPUTS, Answer, Row, answers, matrices, open_session


@bentoml.service(workers=1)
class Income:
    """The model as a service."""

    def __init__(self) -> None:
        self.session = open_session()

    @bentoml.api(batchable=True, max_batch_size=512)
    def predict(self, rows: list[Row]) -> list[Answer]:
        """Answer the rows of one or more requests."""
        outputs = self.session.run(OUTPUTS, matrices([vars(row) for row in rows]))
        return [Answer.model_construct(**answer) for answer in answers(outputs)]
