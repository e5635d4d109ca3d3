"""Cases whose answer is known: closed forms and published numbers, compared with what gradscope computes."""
