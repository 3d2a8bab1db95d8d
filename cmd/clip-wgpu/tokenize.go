package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/spf13/cobra"
)

func newTokenizeCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "tokenize TEXT...",
		Short: "Show the token ids of texts",
		Long: `tokenize shows the token ids that the model's text tower reads for each text:
start of text, the text's tokens, end of text. A text that is too long for the
model is cut. --json writes {"text":..., "ids":[...], "tokens":[...]} for each text,
the ids with the padding up to the model's context length.`,
		Example: `  clip-wgpu tokenize "a photo of a cat"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf(cmd, "no texts given")
			}
			return withModel(cmd, g, func(_ context.Context, s *session) error { return tokenize(cmd, g, s, args) })
		},
	}
}

func tokenize(cmd *cobra.Command, g *globals, s *session, texts []string) error {
	t, w := s.model.Tokenizer(), cmd.OutOrStdout()
	if t == nil {
		return fmt.Errorf("%s: its config names a tokenizer that is %w", s.model.Name(), clip.ErrUnsupported)
	}
	jsonLines := newJSONLines(w)
	contextLength := s.model.Config().TextCfg.ContextLength
	unpadded := t.Unpadded(texts, contextLength)
	for i, ids := range t.Tokenize(texts, contextLength) {
		var tokens []string
		for n := range unpadded[i] {
			token, err := t.Decode(ids[n : n+1])
			if err != nil {
				return err
			}
			tokens = append(tokens, token)
		}
		var err error
		if g.json {
			err = jsonLines.Encode(struct {
				Text   string   `json:"text"`
				IDs    []int32  `json:"ids"`
				Tokens []string `json:"tokens"`
			}{texts[i], ids, tokens})
		} else {
			words := make([]string, len(tokens))
			for n, token := range tokens {
				words[n] = fmt.Sprintf("%d %q", ids[n], token)
			}
			_, err = fmt.Fprintln(w, strings.Join(words, "  "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
