"""PyTorch's own recurrent layers, made from an input and a hidden size."""

from torch import nn


def rnn_tanh(input_size: int, hidden_size: int) -> nn.RNN:
    """Return nn.RNN with tanh."""
    return nn.RNN(input_size, hidden_size)


def rnn_relu(input_size: int, hidden_size: int) -> nn.RNN:
    """Return nn.RNN with relu."""
    return nn.RNN(input_size, hidden_size, nonlinearity="relu")


def rnn_relu_both_ways(input_size: int, hidden_size: int) -> nn.RNN:
    """Return nn.RNN with relu that reads in both directions; its outputs are twice as wide."""
    return nn.RNN(input_size, hidden_size, nonlinearity="relu", bidirectional=True)


def rnn_tanh_both_ways(input_size: int, hidden_size: int) -> nn.RNN:
    """Return nn.RNN with tanh that reads in both directions; its outputs are twice as wide."""
    return nn.RNN(input_size, hidden_size, bidirectional=True)


def rnn_tanh_deep(input_size: int, hidden_size: int) -> nn.RNN:
    """Return nn.RNN with tanh and three layers."""
    return nn.RNN(input_size, hidden_size, num_layers=3)


def lstm(input_size: int, hidden_size: int) -> nn.LSTM:
    """Return nn.LSTM."""
    return nn.LSTM(input_size, hidden_size)


def gru(input_size: int, hidden_size: int) -> nn.GRU:
    """Return nn.GRU."""
    return nn.GRU(input_size, hidden_size)
