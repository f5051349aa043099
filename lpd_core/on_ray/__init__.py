"""The E-step as a pipeline of Ray Data over the nodes of a cluster: `steps` is what a node does with a chunk of prompts,
`watch` keeps the books of who did what, `pipeline` is the Dataset and the stage around it. Only `pipeline` imports Ray."""
