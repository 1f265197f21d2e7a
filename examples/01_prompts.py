"""Turn records into prompts and generated text back into responses. No torch is imported, here or by the library."""

from alpaca_lora import Prompter, Record, available_templates

record = Record("Turn the sentence into a question.", "The train leaves at noon.", "Does the train leave at noon?")
prompter = Prompter("alpaca")

print("templates:", ", ".join(available_templates()))
print("stop strings:", ", ".join(prompter.stop_strings))

# What the model reads, in training and in chat alike, and what it learns to write after it.
print(prompter.prompt(record) + prompter.completion(record))

# A model returns its prompt with the response behind it; this is the response.
generated = prompter.generate_prompt("Name three primary colours.", label="Red, blue and yellow.\n")
print("response:", prompter.get_response(generated))
