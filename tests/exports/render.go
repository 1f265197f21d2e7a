// Render templates with Go's own text/template, as Ollama does: JSON in, JSON out.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"text/template"
)

func main() {
	var jobs []struct{ Template, System, Prompt, Response string }
	if err := json.NewDecoder(os.Stdin).Decode(&jobs); err != nil {
		panic(err)
	}
	rendered := []string{}
	for _, job := range jobs {
		var text bytes.Buffer
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(job.Template))
		if err := parsed.Execute(&text, job); err != nil {
			panic(err)
		}
		rendered = append(rendered, text.String())
	}
	if err := json.NewEncoder(os.Stdout).Encode(rendered); err != nil {
		panic(err)
	}
}
