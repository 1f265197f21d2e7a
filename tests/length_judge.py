"""A judge whose verdicts a test can foretell."""

from alpaca_lora.teachers import Answer, Usage


class LikesLength:
    """A judge that finds the longer answer better, whatever the order."""

    free, chat, model, notes = True, False, "ruler", ()

    def __init__(self, silent=False):
        self.silent = silent

    def describe(self):
        return {"kind": "test", "model": self.model}

    def most_prompt_tokens(self, request):
        return len(request.prompt)

    def redact(self, text):
        return text

    async def answer(self, request):
        first, second = (request.prompt.split(f"<answer-{letter}-")[1].split("</answer-")[0] for letter in "AB")
        text = "" if self.silent else f'{{"verdict": "{"A" if len(first) > len(second) else "B"}"}}'
        return Answer(text=text, finish="stop", usage=Usage(1, 1))

    async def close(self):
        pass
