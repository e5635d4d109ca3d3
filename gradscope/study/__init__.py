"""The engine of a study: a TOML file, a grid of trials, one comparison at the end.

Trials of a plain cell or a GRU that differ in seed, initialisation or clipping only are trained as one program where
the study file says `together = true`. Of 12 trials of the adding problem (100 times, on one processor) an iteration
that is not recorded, from the batch to the update, is so many times as fast as in PyTorch's modules one by one:

    16 sequences, 32 units     rnn_tanh 4.1    gru 4.5    lstm 0.9
    16 sequences, 64 units     rnn_tanh 2.2    gru 2.8    lstm 0.8
    32 sequences, 64 units     rnn_tanh 2.2    gru 2.3    lstm 0.6
    32 sequences, 128 units    rnn_tanh 1.6    gru 1.4    lstm 0.6
    64 sequences, 128 units    rnn_tanh 1.2    gru 1.1    lstm 0.9

Small plain cells and GRUs win, since a fused module spends its time between kernels; an LSTM has one kernel for all
times and is trained alone, and so is what is larger than the fourth line.

Shared are the forward and the backward pass of iterations that are not recorded, and nothing else. A trial keeps its
network, its clipping, its optimiser and its recorder: the weights of all are put side by side anew in each iteration,
and each network gets the gradient of its own loss back. What is recorded goes through every trial's own nn.RNN or
nn.GRU, as its reader trains it, and takes half of the time that is left: over the default `vanishing`, which records
one iteration in 8, the trials that share are 2.1 times as fast, and all of its trials together 1.7 times. A prototype
that also recorded all trials at once came to 5.8; but what it recorded was a loop written for it, and every recording
would need a second form. One optimiser for all would add a sixth to the speed of a shared iteration, and would have to
be kept in step with each trial's own.

A trial that cannot begin, or diverges, leaves the others as they are; after any other error those that have not ended
are trained one by one. Groups are at most 12 trials and small enough for every worker to get two of them.
"""
