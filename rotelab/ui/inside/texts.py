"""The texts of the “Look inside” tab: what each figure shows, and how it is measured."""

from __future__ import annotations

from rotelab.ui.i18n import N_

INTRO = N_(
    "How the model **holds** what it learned: each prompt leaves a pattern of numbers in every "
    "layer (its *hidden state* at the last word piece), and these patterns are compared here."
)
NO_RUN = N_("There is no run yet. Start one on the Train tab; its inside is measured as it goes.")

SIMILARITY = N_(
    "### Does the key token come to mean the same as the words?\n"
    "**What to look for:** the higher a line, the more alike the key-token prompt and the wording "
    "are to the model. From *Memorised* to *Generalised* the first two panels should rise, and the "
    "third, about something else, should stay where it is. The upper layers, near the answer, tell "
    "most."
)
SIMILARITY_HOW = N_(
    "Cosine similarity of two hidden states at the last word piece: 1 means the same direction, 0 "
    "unrelated. Compared are a fact's prompt through the key token and the same fact's prompt in "
    "words; shown is the mean over the facts looked at (held-out ones where there are any). Layer "
    "0 is the input embedding. For comparison: published notes on the paper report, for "
    "Qwen2.5-1.5B and train, test and unrelated prompts, 0.87, 0.58 and 0.50 after rote learning, "
    "and 0.90, 0.71 and 0.50 after generalising."
)
DELTA = N_(
    "### Do facts of one kind gather?\n"
    "**What to look for:** the higher the line, the closer the prompts of one relation are to each "
    "other, and the further from all others. With several relations it should rise with rote "
    "learning and again with generalising. A run with a single relation can only be compared with "
    "its unrelated questions, and there the line may fall."
)
DELTA_HOW = N_(
    "ΔCosSim (paper, section 5): the mean cosine similarity between prompts of the *same* relation "
    "minus the mean between prompts of *different* relations, from the hidden state of the last "
    "token. Only prompts of different facts are compared; key-token, train and test prompts count "
    "alike. In a run with only one relation, its unrelated questions take the place of the others. "
    "For comparison: published notes on the paper report 0.058 for the base model, 0.191 after 20 "
    "rounds of rote learning and 0.258 after generalising."
)
LENS = N_(
    "### At which layer does the answer come up?\n"
    "**What to look for:** a high line means that the answer can already be read off at that "
    "layer. Once *Memorised*, only the key token’s line should rise, near the end; once "
    "*Generalised*, the lines of the questions should rise at the same layers."
)
LENS_HOW = N_(
    "Logit lens (nostalgebraist, 2020): the model’s own last step (its final norm and its "
    "vocabulary head) is applied to the hidden state of each layer, as if the model ended there. "
    "Counted are the facts whose answer’s first word piece is then the most probable of all. At "
    "most 16 facts of each relation are used, held-out ones where there are any, and the same ones "
    "for all three ways of asking. The last layer is the model’s real answer. The states of early "
    "layers are not yet written in terms of the vocabulary, so a low line there does not mean that "
    "nothing is known."
)
CHANGES = N_(
    "### Which layers did training change most?\n"
    "**What to look for:** the higher a bar, the more that phase changed that layer. Phase 1 "
    "stores the facts, phase 2 only has to open a way to them, so its bars should be much lower."
)
CHANGES_HOW = N_(
    "Size (Frobenius norm) of the change that an adapter makes to a layer’s weight matrices, "
    "‖scale · B A‖, divided by the size of the same matrices in the base model, ‖W‖. Phase 1 "
    "trains the MLPs and the key token’s embedding, phase 2 trains attention, in the layers that "
    "the settings name. A matrix that a phase does not train is not part of its bar."
)
LATE = N_(
    "Some figures of this run are missing: it ended early, or is older than these figures. They "
    "can be computed now from its adapters, and are kept."
)
PCA = N_(
    "### A map of all prompts\n"
    "**What to look for:** each mark is one prompt; marks near each other are alike to the model. "
    "From checkpoint to checkpoint the key-token stars should move together with the wordings, "
    "most clearly in the upper layers, and the unrelated questions should lie apart."
)
PCA_HOW = N_(
    "Principal component analysis (PCA) of the hidden states at the chosen layer: the two "
    "directions in which they differ most, computed once for all checkpoints together, so that "
    "positions can be compared between checkpoints. Two directions never show everything: the axes "
    "say how much of the spread they hold."
)

PATCHING = N_(
    "### Where does the fact sit?\n"
    "**What to look for:** the state behind the key token is put into a question in words, at each "
    "layer and at each token, and the model goes on from there. Bright is where that alone brings "
    "the answer. If it is bright somewhere in the *Memorised* model, though the question by itself "
    "does not bring the answer, then the fact is there, and only the way to it is missing."
)
PATCHING_HOW = N_(
    "Activation patching (Vig et al. 2020; Meng et al. 2022): the output of a decoder layer at the "
    "last token of one prompt replaces that of the same layer at one token of the other prompt, in "
    "the same model, and all that follows is computed anew. Shown is the probability of the "
    "answer’s first word piece; a dot says that it is then the most probable of all. At the last "
    "layer and the last token the patch is the other prompt’s answer by definition. In the first "
    "layers a state is little more than its token: bright there means that the key token itself, "
    "put at this place, finds the subject in the question. It shows where a state suffices, not "
    "that the model uses that place by itself. Of more than 16 layers every second one is shown. "
    "The experiment *Where the fact sits* does the same for many facts, with intervals."
)

READOUT = {
    "key-train": N_("… wordings it was taught in"),
    "key-test": N_("… wordings it never saw"),
    "key-unrelated": N_("… unrelated questions"),
}
"""What the key-token prompt is compared with."""

ASKED = {
    "key": N_("Through the key token"),
    "test": N_("Through a question in new words"),
}
"""The ways of asking in the logit lens's summary."""

PHASES = {
    "memorized": N_("Phase 1, rote learning"),
    "generalized": N_("Phase 2, generalising"),
}
"""The phase that leads to each checkpoint."""
