"""The sentences of the Representations tab: what each figure shows, and how it is measured."""

from __future__ import annotations

from rotelab.ui.i18n import N_

INTRO = N_(
    "How the model **holds** what it learned: each prompt leaves a pattern of numbers in every "
    "layer (its *hidden state* at the last word piece), and these patterns are compared here."
)
NO_RUN = N_("There is no run yet. Start one on the Train tab; its inside is measured as it goes.")

SIMILARITY = N_(
    "### Does the key token come to mean the same as the words?\n"
    "**What to look for:** a line that is higher means that the model treats the key-token prompt "
    "and the wording alike. From *Memorised* to *Generalised* the first two panels should rise, "
    "and the third, about something else, should stay where it is. The upper layers, near the "
    "answer, tell most."
)
SIMILARITY_HOW = N_(
    "Cosine similarity of two hidden states at the last word piece: 1 is the same direction, 0 "
    "unrelated. Compared are one fact's prompt through the key token and the same fact's prompt in "
    "words; the mean over the facts looked at (held-out ones where there are any). Layer 0 is the "
    "input embedding. For comparison, published notes on the paper give for Qwen2.5-1.5B with "
    "train, test and unrelated prompts 0.87, 0.58 and 0.50 after rote learning, and 0.90, 0.71 and "
    "0.50 after generalising."
)
DELTA = N_(
    "### Do facts of one kind gather?\n"
    "**What to look for:** the higher the line, the more the prompts of one relation stand "
    "together and apart from all others. With several relations it should rise with rote learning "
    "and again with generalising. A run with a single relation has only its unrelated questions to "
    "hold against it, and there the line may fall."
)
DELTA_HOW = N_(
    "ΔCosSim (paper, section 5): the mean cosine similarity between prompts of the *same* relation "
    "minus the mean between prompts of *different* relations, hidden state of the last token. "
    "Prompts of different facts only; key-token, train and test prompts alike. Where a run has "
    "only one relation, its unrelated questions stand for the others. For comparison, published "
    "notes on the paper give 0.058 for the base model, 0.191 after 20 rounds of rote learning and "
    "0.258 after generalising."
)
LENS = N_(
    "### At which layer does the answer come up?\n"
    "**What to look for:** a line that is high means that the answer could already be read off at "
    "that layer. Once *Memorised*, only the key token’s line should rise, near the end; once "
    "*Generalised*, the lines of the questions should rise at the same layers."
)
LENS_HOW = N_(
    "Logit lens (nostalgebraist, 2020): the model’s own last step, its final norm and its "
    "vocabulary head, is put on the hidden state of each layer, as if the model ended there. "
    "Counted are the facts whose object’s first word piece is then the most probable of all. "
    "At most 16 facts of each relation, held-out ones where there are any, the same in all three "
    "ways to ask; the last layer is the model’s real answer. Early layers do not “speak” "
    "the vocabulary’s language yet, so a low line there does not mean that nothing is known."
)
CHANGES = N_(
    "### Which layers did training change most?\n"
    "**What to look for:** the higher a bar, the more that phase rebuilt that layer. Phase 1 "
    "stores the facts, phase 2 only has to open a way to them, so its bars should be much lower."
)
CHANGES_HOW = N_(
    "Size (Frobenius norm) of the change that an adapter makes to a layer’s weight matrices, "
    "‖scale · B A‖, divided by the size of the same matrices in the base model, ‖W‖. Phase 1 "
    "trains the MLPs and the key token’s embedding, phase 2 attention, in the layers that the "
    "settings name; a matrix that a phase does not train is not in its bar."
)
LATE = N_(
    "Not all of this run was looked at layer by layer: it ended early, or is older than that. It "
    "can be done now, from its adapters; it takes less than a minute on most machines, and is kept."
)
PCA = N_(
    "### A map of all prompts\n"
    "**What to look for:** every mark is one prompt, and marks that are near each other are alike "
    "to the model. From checkpoint to checkpoint the key-token stars should come together with "
    "the wordings, most clearly in the upper layers, and the unrelated questions should lie apart."
)
PCA_HOW = N_(
    "Principal component analysis (PCA) of the hidden states at the chosen layer: the two "
    "directions in which they differ most, found once for all checkpoints together, so that places "
    "can be compared between them. Two directions never show everything: the axes say how "
    "much of the spread they hold."
)

READOUT = {
    "key-train": N_("… wordings it was taught in"),
    "key-test": N_("… wordings it never saw"),
    "key-unrelated": N_("… unrelated questions"),
}

ASKED = (("key", N_("Through the key token")), ("test", N_("Through a question in new words")))
