package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/tokenizer"
	"github.com/spf13/cobra"
)

func newTokenizeCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tokenize TEXT...",
		Short: "Show the token ids of texts",
		Long: `tokenize shows the tokens that the model's text tower reads of each text: their
ids, and the text that each stands for, with the special tokens at start and end.
Texts longer than the model's context are cut; a note on stderr counts them.

--json writes {"text":..., "ids":[...], "tokens":[...]} for each text. There the
ids include the padding up to the model's context length, the tokens do not.

tokenize needs no GPU and no weights: --model may be a folder without weights, or
open_clip's name of a model without a tag. Of a model on the Hugging Face hub it
downloads the config and the tokenizer only.`,
		Example: `  clip-wgpu tokenize "a photo of a cat"
  clip-wgpu tokenize --model ViT-B-16-SigLIP "a photo of a cat"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageErrorf(cmd, "no texts given")
			}
			return tokenize(cmd.Context(), g, cmd.OutOrStdout(), args)
		},
	}
	g.languageFlag(cmd)
	return cmd
}

func tokenize(ctx context.Context, g *globals, w io.Writer, texts []string) error {
	var contextLength int
	var warnings []string
	t, err := interruptible(ctx, func() (t *tokenizer.Tokenizer, err error) {
		t, contextLength, warnings, err = checkpoint.LoadTokenizer(ctx, g.model, g.checkpoint())
		return t, err
	})
	if err != nil {
		return loadHint(g.model, err)
	}
	for _, text := range warnings {
		g.console().note("warning: %s: %s", g.model, text)
	}
	s := session{console: g.console(), skipErrors: g.skipErrors}
	for p := range tokenizeEach(ctx, t, contextLength, textInputs(texts)) {
		if p.err != nil {
			if err := s.skip(p); err != nil {
				return err
			}
			continue
		}
		s.truncated.count(p)
		if err := writeTokens(w, t, p, g.json); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.noteTruncated(s.truncated)
	return s.result(len(texts))
}

func textInputs(texts []string) []input {
	inputs := make([]input, len(texts))
	for i, text := range texts {
		inputs[i].id = text
	}
	return inputs
}

func writeTokens(w io.Writer, t *tokenizer.Tokenizer, p prepared, asJSON bool) error {
	ids := p.tokens.IDs
	tokens := make([]string, p.tokens.Filled)
	for i := range tokens {
		var err error
		if tokens[i], err = t.Decode(ids[i : i+1]); err != nil {
			return err
		}
	}
	if asJSON {
		return newJSONLines(w).Encode(struct {
			Text   rawText  `json:"text"`
			IDs    []int32  `json:"ids"`
			Tokens []string `json:"tokens"`
		}{rawText(p.id), ids, tokens})
	}
	words := make([]string, len(tokens))
	for i, token := range tokens {
		words[i] = fmt.Sprintf("%d %q", ids[i], token)
	}
	_, err := fmt.Fprintln(w, strings.Join(words, "  "))
	return err
}
